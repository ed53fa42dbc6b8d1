"""`make reconcile`: compares what Order and SCM say, and names every order and article that differs."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import httpx
from rich.console import Console

_PAGE = 1000

STORIES = {
    "COMPLETED": set[str](),
    "BACKORDERED": {"SHORT"},
    "PREPARING": {"INVOICED"},
    "SHIPPED": {"DISPATCHED"},
    "DELIVERED": {"DELIVERED"},
    "CANCELLING": set[str](),
    "CANCELLED": {"CANCELLED"},
}
"""For each status of an order that SCM has to know: where SCM's side is once everything has arrived. An
order never rests where none is named."""

_INVOICED = {"INVOICED", "DISPATCHED", "DELIVERED"}

_LEFT = {"DISPATCHED", "DELIVERED"}


class NotReached(Exception):
    """A service does not answer, or not as it should. The message says which."""


@dataclass(frozen=True)
class Books:
    """What both services say, read over REST."""

    orders: dict[str, Any]
    fulfilments: dict[str, Any]
    stock: list[dict[str, Any]]
    purchases: list[dict[str, Any]]
    demand_of_orders: dict[str, int]
    demand_counted: dict[str, int]
    events: dict[str, dict[str, Any]]
    """By service: how many wait, are parked, were absorbed."""

    def absorbed(self) -> int:
        """Deliveries that had no second effect."""
        return sum(queue["duplicates"] for side in self.events.values() for queue in side["consumed"])

    def superseded(self) -> int:
        """Messages that came after a newer one about the same order."""
        return sum(queue["superseded"] for side in self.events.values() for queue in side["consumed"])


async def read_books(order: httpx.AsyncClient, scm: httpx.AsyncClient) -> Books:
    """Raises NotReached."""
    return Books(
        orders={each["id"]: each for each in await _pages(order, "/reconciliation", "orders", "id")},
        fulfilments={each["id"]: each for each in await _pages(scm, "/reconciliation", "orders", "id")},
        stock=await _pages(scm, "/reconciliation/stock", "stock", "sku"),
        purchases=await _pages(scm, "/partner-office/purchase-orders", None, "id"),
        demand_of_orders=await _demand(order),
        demand_counted=await _demand(scm),
        events={
            "order": await _page(order, "/reconciliation/events"),
            "scm": await _page(scm, "/reconciliation/events"),
        },
    )


def differences(books: Books) -> Iterator[str]:
    """A sentence for everything that does not agree."""
    bought = {each["orderId"] for each in books.purchases}
    for order_id in sorted(books.orders.keys() | books.fulfilments.keys()):
        order, scm = books.orders.get(order_id), books.fulfilments.get(order_id)
        for difference in chain(_of_order(order, scm), _of_scm(scm, is_bought=order_id in bought)):
            yield f"order {order_id}: {difference}"
    aside = _total(each["reserved"] for each in books.fulfilments.values())
    left = _total(each["lines"] for each in books.fulfilments.values() if each["status"] in _LEFT)
    received = _total((each["lines"] for each in books.purchases), "received")
    for article in books.stock:
        sku = article["sku"]
        for difference in _of_stock(article, aside[sku], left[sku], received[sku]):
            yield f"article {sku}: {difference}"
    for sku in sorted(books.demand_of_orders.keys() | books.demand_counted.keys()):
        ordered, counted = books.demand_of_orders.get(sku, 0), books.demand_counted.get(sku, 0)
        if ordered != counted:
            yield f"article {sku}: {ordered} on completed orders, but demand counted {counted}"
    for service, counts in books.events.items():
        for state in ("waiting", "parked"):
            if counts[state]:
                yield f"{service}: events {state}: {counts[state]}"


def _of_order(order: dict[str, Any] | None, scm: dict[str, Any] | None) -> Iterator[str]:
    if order is None:
        yield "SCM knows it, the Order service does not"
    elif order["completedAt"] is None:
        if scm is not None:
            yield f"was never completed, yet SCM has it as {scm['status']}"
    elif scm is None:
        yield f"is {order['status']}, but SCM has not heard of it"
    else:
        yield from _of_both(order, scm)


def _of_both(order: dict[str, Any], scm: dict[str, Any]) -> Iterator[str]:
    if scm["status"] not in STORIES[order["status"]]:
        yield f"is {order['status']}, and {scm['status']} at SCM"
    live = scm["liveInvoices"]
    if len(live) != (scm["status"] in _INVOICED):
        yield f"is {scm['status']} at SCM, and its live invoices are: {', '.join(live) or 'none'}"
    elif live and live != [order["invoiceId"]]:
        yield f"knows the invoice {order['invoiceId']}, the live one is {live[0]}"
    elif live and scm["addressDigest"] != order["addressDigest"]:
        yield f"its {'invoice has' if scm['status'] == 'INVOICED' else 'parcel went to'} another address"
    if _quantities(order["lines"]) != _quantities(scm["lines"]):
        yield "SCM has other lines"


def _of_scm(scm: dict[str, Any] | None, *, is_bought: bool) -> Iterator[str]:
    """What SCM says of one order, in itself."""
    if scm is None:
        return
    status = scm["status"]
    expected = _quantities(scm["lines"]) if status in ("RESERVED", "INVOICED") else {}
    if _quantities(scm["reserved"]) != expected:
        aside = ", ".join(f"{each['quantity']} {each['sku']}" for each in scm["reserved"])
        yield f"is {status} at SCM, with {aside or 'nothing'} set aside for it"
    if scm["waiting"] != (status == "SHORT"):
        yield f"is {status} at SCM, and {'waits' if scm['waiting'] else 'does not wait'} for goods"
    if status == "SHORT" and not is_bought:
        yield "is short of goods, and nothing was bought for it"


def _of_stock(article: dict[str, Any], aside: int, left: int, received: int) -> Iterator[str]:
    """`aside`, `left` and `received` are what the orders and the purchase orders say."""
    if article["onHand"] != article["moved"]:
        yield f"{article['onHand']} in stock, but its movements make {article['moved']}"
    if article["reserved"] != aside:
        yield f"{article['reserved']} set aside, but for orders {aside}"
    if not 0 <= article["reserved"] <= article["onHand"]:
        yield f"{article['reserved']} set aside of {article['onHand']}"
    if article["dispatched"] != left:
        yield f"{left} on orders that have left, but {article['dispatched']} dispatched"
    if article["received"] != received:
        yield f"{received} received on purchase orders, but {article['received']} taken into stock"


def _total(lines_of_each: Iterable[list[dict[str, Any]]], what: str = "quantity") -> Counter[str]:
    """By article."""
    total = Counter[str]()
    for line in chain.from_iterable(lines_of_each):
        total[line["sku"]] += line[what]
    return total


def _quantities(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {line["sku"]: line["quantity"] for line in lines}


async def _demand(side: httpx.AsyncClient) -> dict[str, int]:
    articles = await _pages(side, "/reconciliation/demand", "demand", "sku")
    return {each["sku"]: each["units"] for each in articles}


async def _pages(side: httpx.AsyncClient, path: str, name: str | None, key: str) -> list[Any]:
    """All that is on them; `name` is of the list, where a page is more than that."""
    found: list[Any] = []
    while True:
        after = {"after": found[-1][key]} if found else {}
        page = await _page(side, path, limit=_PAGE, **after)
        page = page if name is None else page[name]
        found += page
        if len(page) < _PAGE:
            return found


async def _page(side: httpx.AsyncClient, path: str, **params: str | int) -> Any:
    try:
        answer = await side.get(path, params=params, timeout=30)
        return answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise NotReached(f"{str(side.base_url).rstrip('/')}{path} does not tell: {said}") from error


def _service(url: str) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(base_url=url, trust_env=False)
    except httpx.InvalidURL as error:
        raise NotReached(f"{url} is no URL: {error}") from error


async def settled(
    order: httpx.AsyncClient, scm: httpx.AsyncClient, *, within: float
) -> tuple[Books, list[str]]:
    """What both sides say, and what differs: at once when nothing does, else as it is after so many seconds,
    because what is on its way differs for a moment. Raises NotReached."""
    until = time.monotonic() + within
    while True:
        is_last = time.monotonic() >= until
        try:
            books = await read_books(order, scm)
        except NotReached:
            if is_last:
                raise
        else:
            found = list(differences(books))
            if is_last or not found:
                return books, found
        await asyncio.sleep(0.5)


async def run_reconcile(order_url: str, scm_url: str, wait: float) -> int:
    """Returns 0 when everything agrees, 1 when something differs. Raises NotReached."""
    console = Console(highlight=False, soft_wrap=True)
    async with _service(order_url) as order, _service(scm_url) as scm:
        books, found = await settled(order, scm, within=wait)
    for difference in found:
        console.print(f"[red]✗[/] {difference}")
    told = f"{len(books.orders)} orders, {len(books.fulfilments)} of them at SCM, {len(books.stock)} articles"
    console.print(f"{'[red]✗[/]' if found else '[green]✓[/]'} {told}: {len(found) or 'no'} differences")
    console.print(f"  {books.absorbed()} duplicates absorbed, {books.superseded()} messages superseded")
    return 1 if found else 0
