"""`make reconcile`: check the invariants of the system over REST, and name what violates them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console

from local.invariants import Articles, Json, check_events, check_order, check_stations
from shared.runtime.settings import EnvironmentSettings, load
from shared.runtime.tokens import Token, bearer

_PAGE = 100

MAX_LISTED = 1_000
"""Differences that a report lists; further ones are counted."""


class ServiceUnreadable(Exception):
    """A service did not answer, or not as documented. The message names its URL and the reason."""


@dataclass
class Report:
    """Result of a comparison."""

    differences: list[str] = field(default_factory=list)
    """The first 1,000, one sentence each, which begins with the order, article, queue or service."""
    count: int = 0
    """Number of all differences."""
    orders: int = 0
    fulfilments: int = 0
    articles: int = 0
    duplicates: int = 0
    """Deliveries that the inboxes absorbed."""
    superseded: int = 0
    """Messages that arrived after a newer one about the same order."""

    def add(self, subject: str, sentences: Iterator[str]) -> None:
        for sentence in sentences:
            self.count += 1
            if len(self.differences) < MAX_LISTED:
                self.differences.append(f"{subject}: {sentence}" if subject else sentence)


OrderObserver = Callable[[Json], None]
"""Is called with each order of the Order service."""


async def compare(
    order: httpx.AsyncClient,
    scm: httpx.AsyncClient,
    console: httpx.AsyncClient | None = None,
    *,
    observe: OrderObserver = lambda _: None,
) -> Report:
    """Read the services page by page, not at one instant, and check every invariant; those of queues and
    listeners only with a console. Raises ServiceUnreadable."""
    report, articles = Report(), Articles()
    async for order_id, ordered, fulfilment in _merged(order, scm):
        if ordered is not None:
            report.orders += 1
            observe(ordered)
        if fulfilment is not None:
            report.fulfilments += 1
            articles.add(fulfilment)
        report.add(f"order {order_id}", check_order(ordered, fulfilment))
    await _check_missing(order, scm, report)
    await _check_articles(order, scm, articles, report)
    for name, side in (("order", order), ("scm", scm)):
        counts = await _page(side, "/reconciliation/events")
        report.add("", check_events(name, counts))
        report.duplicates += sum(queue["duplicates"] for queue in counts["consumed"])
        report.superseded += sum(queue["superseded"] for queue in counts["consumed"])
    if console is not None:
        report.add("", check_stations(await _page(console, "/api/stations")))
    return report


async def _merged(
    order: httpx.AsyncClient, scm: httpx.AsyncClient
) -> AsyncIterator[tuple[str, Json | None, Json | None]]:
    """Yield the id of every order with its state at Order and SCM. Both lists are sorted by id, so that one
    page of each is in memory."""
    left, right = (_items(side, "/reconciliation", "orders", "id") for side in (order, scm))
    ordered, fulfilment = await anext(left, None), await anext(right, None)
    while ordered or fulfilment:
        order_id = min(each["id"] for each in (ordered, fulfilment) if each)
        here = ordered if ordered and ordered["id"] == order_id else None
        there = fulfilment if fulfilment and fulfilment["id"] == order_id else None
        yield order_id, here, there
        ordered = await anext(left, None) if here else ordered
        fulfilment = await anext(right, None) if there else fulfilment


async def _check_missing(order: httpx.AsyncClient, scm: httpx.AsyncClient, report: Report) -> None:
    for side, sentence in (
        (order, "the Order service has events of it, but not the order"),
        (scm, "SCM has records of it, but no fulfilment"),
    ):
        after = ""
        while ids := (await _page(side, "/reconciliation/missing", limit=_PAGE, after=after))["ids"]:
            for after in ids:
                report.add(f"order {after}", iter([sentence]))


async def _check_articles(
    order: httpx.AsyncClient, scm: httpx.AsyncClient, articles: Articles, report: Report
) -> None:
    for side, total in ((order, articles.ordered), (scm, articles.counted)):
        async for each in _items(side, "/reconciliation/demand", "demand", "sku"):
            total[each["sku"]] = each["units"]
    async for each in _items(scm, "/reconciliation/received", "received", "sku"):
        if each["received"]:
            articles.received[each["sku"]] = each["received"]
    async for each in _items(scm, "/reconciliation/stock", "stock", "sku"):
        report.articles += 1
        report.add(f"article {each['sku']}", articles.check_stock(each))
    for sku, sentence in articles.check_others():
        report.add(f"article {sku}", iter([sentence]))


async def _items(side: httpx.AsyncClient, path: str, name: str, key: str) -> AsyncIterator[Json]:
    """Yield the items of all pages; `name` is the field of the list, `key` the cursor."""
    after = ""
    while True:
        page = (await _page(side, path, limit=_PAGE, after=after))[name]
        for each in page:
            yield each
        if len(page) < _PAGE:
            return
        after = page[-1][key]


async def _page(side: httpx.AsyncClient, path: str, **params: str | int) -> Any:
    try:
        answer = await side.get(path, params=params, timeout=30)
        return answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ServiceUnreadable(f"{str(side.base_url).rstrip('/')}{path} cannot be read: {reason}") from error


class ReconcileSettings(EnvironmentSettings):
    """Environment variables of the command."""

    operator_token: Token | None = None
    """Required outside of development, where reads need a token."""


def _service(url: str, token: Token | None) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(base_url=url, headers=bearer(token) if token else None, trust_env=False)
    except httpx.InvalidURL as error:
        raise ServiceUnreadable(f"{url} is no URL: {error}") from error


async def compare_settled(
    order: httpx.AsyncClient,
    scm: httpx.AsyncClient,
    console: httpx.AsyncClient | None = None,
    *,
    timeout: float,
    observe: OrderObserver = lambda _: None,
) -> Report:
    """Return the first report without differences or, after `timeout` seconds, the last one.

    Messages on their way cause differences that last a moment. Raises ServiceUnreadable.
    """
    until = time.monotonic() + timeout
    while True:
        is_last = time.monotonic() >= until
        try:
            report = await compare(order, scm, console, observe=observe)
        except ServiceUnreadable:
            if is_last:
                raise
        else:
            if is_last or not report.count:
                return report
        await asyncio.sleep(0.5)


async def run_reconcile(order_url: str, scm_url: str, console_url: str, wait: float) -> int:
    """Return 0 if nothing differs, 1 otherwise. Raises ServiceUnreadable."""
    output = Console(highlight=False, soft_wrap=True)
    token = load(ReconcileSettings, "reconcile").operator_token
    async with (
        _service(order_url, token) as order,
        _service(scm_url, token) as scm,
        _service(console_url, token) as console,
    ):
        report = await compare_settled(order, scm, console, timeout=wait)
    for difference in report.differences:
        output.print(f"[red]✗[/] {difference}")
    if report.count > len(report.differences):
        output.print(f"  … and {report.count - len(report.differences)} more")
    counts = f"{report.orders} orders, {report.fulfilments} of them at SCM, {report.articles} articles"
    mark = "[red]✗[/]" if report.count else "[green]✓[/]"
    output.print(f"{mark} {counts}: {report.count or 'no'} differences")
    output.print(f"  {report.duplicates} duplicates absorbed, {report.superseded} messages superseded")
    return 1 if report.count else 0
