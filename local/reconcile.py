"""`make reconcile`: compare Order and SCM over REST, and name every order, article and event that differs."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import httpx
from rich.console import Console

_PAGE = 100

RESTING_STATUSES = {
    "COMPLETED": set[str](),
    "BACKORDERED": {"SHORT"},
    "PREPARING": {"INVOICED"},
    "SHIPPED": {"DISPATCHED"},
    "DELIVERED": {"DELIVERED"},
    "CANCELLING": set[str](),
    "CANCELLED": {"CANCELLED"},
}
"""By status of an order: the statuses of its fulfilment once all events have arrived. An order does not rest
in a status that has none."""

_INVOICED = {"INVOICED", "DISPATCHED", "DELIVERED"}

_DISPATCHED = {"DISPATCHED", "DELIVERED"}


class ServiceUnreadable(Exception):
    """A service did not answer, or not as documented. The message names its URL and the reason."""


@dataclass(frozen=True)
class Snapshot:
    """State of both services, read over REST."""

    orders: dict[str, Any]
    fulfilments: dict[str, Any]
    stock: list[dict[str, Any]]
    purchases: list[dict[str, Any]]
    demand_of_orders: dict[str, int]
    demand_counted: dict[str, int]
    events: dict[str, dict[str, Any]]
    """By service: the numbers of events that wait and are parked, and of messages by queue."""

    def duplicates(self) -> int:
        """Number of deliveries that the inboxes absorbed."""
        return sum(queue["duplicates"] for side in self.events.values() for queue in side["consumed"])

    def superseded(self) -> int:
        """Number of messages that arrived after a newer one about the same order."""
        return sum(queue["superseded"] for side in self.events.values() for queue in side["consumed"])


async def read_snapshot(order: httpx.AsyncClient, scm: httpx.AsyncClient) -> Snapshot:
    """Read both services, not at one instant. Raises ServiceUnreadable."""
    return Snapshot(
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


def differences(snapshot: Snapshot) -> Iterator[str]:
    """Yield one sentence per difference; it begins with the order, the article or the service."""
    bought = {each["orderId"] for each in snapshot.purchases}
    for order_id in sorted(snapshot.orders.keys() | snapshot.fulfilments.keys()):
        order, scm = snapshot.orders.get(order_id), snapshot.fulfilments.get(order_id)
        for difference in chain(
            _compare_presence(order, scm), _check_fulfilment(scm, is_bought=order_id in bought)
        ):
            yield f"order {order_id}: {difference}"
    reserved = _total(each["reserved"] for each in snapshot.fulfilments.values())
    dispatched = _total(
        each["lines"] for each in snapshot.fulfilments.values() if each["status"] in _DISPATCHED
    )
    received = _total((each["lines"] for each in snapshot.purchases), "received")
    for article in snapshot.stock:
        sku = article["sku"]
        for difference in _check_stock(article, reserved[sku], dispatched[sku], received[sku]):
            yield f"article {sku}: {difference}"
    for sku in sorted(snapshot.demand_of_orders.keys() | snapshot.demand_counted.keys()):
        ordered, counted = snapshot.demand_of_orders.get(sku, 0), snapshot.demand_counted.get(sku, 0)
        if ordered != counted:
            yield f"article {sku}: {ordered} on completed orders, but demand counted {counted}"
    for service, counts in snapshot.events.items():
        for state in ("waiting", "parked"):
            if counts[state]:
                yield f"{service}: events {state}: {counts[state]}"


def _compare_presence(order: dict[str, Any] | None, scm: dict[str, Any] | None) -> Iterator[str]:
    if order is None:
        yield "known to SCM, but not to the Order service"
    elif order["completedAt"] is None:
        if scm is not None:
            yield f"was never completed, yet SCM has it as {scm['status']}"
    elif scm is None:
        yield f"is {order['status']}, but unknown to SCM"
    else:
        yield from _compare_sides(order, scm)


def _compare_sides(order: dict[str, Any], scm: dict[str, Any]) -> Iterator[str]:
    if scm["status"] not in RESTING_STATUSES[order["status"]]:
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


def _check_fulfilment(scm: dict[str, Any] | None, *, is_bought: bool) -> Iterator[str]:
    """Compare a fulfilment with its own reservations, waiting list and purchases."""
    if scm is None:
        return
    status = scm["status"]
    expected = _quantities(scm["lines"]) if status in ("RESERVED", "INVOICED") else {}
    if _quantities(scm["reserved"]) != expected:
        reserved = ", ".join(f"{each['quantity']} {each['sku']}" for each in scm["reserved"])
        yield f"is {status} at SCM, with {reserved or 'nothing'} reserved for it"
    if scm["waiting"] != (status == "SHORT"):
        yield f"is {status} at SCM, and {'waits' if scm['waiting'] else 'does not wait'} for goods"
    if status == "SHORT" and not is_bought:
        yield "is short of goods, and nothing was bought for it"


def _check_stock(article: dict[str, Any], reserved: int, dispatched: int, received: int) -> Iterator[str]:
    """`reserved`, `dispatched` and `received` are the quantities of the orders and purchase orders."""
    if article["onHand"] != article["moved"]:
        yield f"{article['onHand']} in stock, but the sum of its movements is {article['moved']}"
    if article["reserved"] != reserved:
        yield f"{article['reserved']} reserved, but {reserved} for orders"
    if not 0 <= article["reserved"] <= article["onHand"]:
        yield f"{article['reserved']} reserved of {article['onHand']} in stock"
    if article["dispatched"] != dispatched:
        yield f"{dispatched} on dispatched orders, but {article['dispatched']} taken out of stock"
    if article["received"] != received:
        yield f"{received} received on purchase orders, but {article['received']} taken into stock"


def _total(lines_of_each: Iterable[list[dict[str, Any]]], key: str = "quantity") -> Counter[str]:
    """Sum by SKU."""
    total = Counter[str]()
    for line in chain.from_iterable(lines_of_each):
        total[line["sku"]] += line[key]
    return total


def _quantities(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {line["sku"]: line["quantity"] for line in lines}


async def _demand(side: httpx.AsyncClient) -> dict[str, int]:
    articles = await _pages(side, "/reconciliation/demand", "demand", "sku")
    return {each["sku"]: each["units"] for each in articles}


async def _pages(side: httpx.AsyncClient, path: str, name: str | None, key: str) -> list[Any]:
    """Read all pages; `name` is the field that holds the list, None if the page is the list itself."""
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
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ServiceUnreadable(f"{str(side.base_url).rstrip('/')}{path} cannot be read: {reason}") from error


def _service(url: str) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(base_url=url, trust_env=False)
    except httpx.InvalidURL as error:
        raise ServiceUnreadable(f"{url} is no URL: {error}") from error


async def read_settled(
    order: httpx.AsyncClient, scm: httpx.AsyncClient, *, timeout: float
) -> tuple[Snapshot, list[str]]:
    """Return the first snapshot without differences or, after `timeout` seconds, the last one with its own.

    Messages on their way cause differences that last a moment. Raises ServiceUnreadable.
    """
    until = time.monotonic() + timeout
    while True:
        is_last = time.monotonic() >= until
        try:
            snapshot = await read_snapshot(order, scm)
        except ServiceUnreadable:
            if is_last:
                raise
        else:
            found = list(differences(snapshot))
            if is_last or not found:
                return snapshot, found
        await asyncio.sleep(0.5)


async def run_reconcile(order_url: str, scm_url: str, wait: float) -> int:
    """Return 0 if nothing differs, 1 otherwise. Raises ServiceUnreadable."""
    console = Console(highlight=False, soft_wrap=True)
    async with _service(order_url) as order, _service(scm_url) as scm:
        snapshot, found = await read_settled(order, scm, timeout=wait)
    for difference in found:
        console.print(f"[red]✗[/] {difference}")
    orders, at_scm, articles = map(len, (snapshot.orders, snapshot.fulfilments, snapshot.stock))
    counts = f"{orders} orders, {at_scm} of them at SCM, {articles} articles"
    console.print(f"{'[red]✗[/]' if found else '[green]✓[/]'} {counts}: {len(found) or 'no'} differences")
    duplicates, superseded = snapshot.duplicates(), snapshot.superseded()
    console.print(f"  {duplicates} duplicates absorbed, {superseded} messages superseded")
    return 1 if found else 0
