"""Invariants of the system: what holds for every order, article and queue once all messages have arrived.

`docs/reconciliation.md` lists them. Each check yields one sentence per violation, and reads JSON of the
services' `/reconciliation`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

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

UNPAID_STATUSES = {"PLACED", "CANCELLED"}
"""Statuses that an order may have without a payment."""

INVOICE_STATUSES = {"INVOICED": "ISSUED", "DISPATCHED": "DISPATCHED", "DELIVERED": "DELIVERED"}
"""By status of a fulfilment: the status of its live invoice. No other fulfilment has one."""

_DISPATCHED = {"DISPATCHED", "DELIVERED"}


def check_order(order: Json | None, scm: Json | None) -> Iterator[str]:
    """Compare an order with its fulfilment, and each with its own records."""
    if order is not None:
        yield from _check_payment(order)
    if order is None:
        yield "known to SCM, but not to the Order service"
    elif order["completedAt"] is None:
        if scm is not None:
            yield f"was never completed, yet SCM has it as {scm['status']}"
    elif scm is None:
        yield f"is {order['status']}, but unknown to SCM"
    else:
        yield from _compare_sides(order, scm)
        yield from _compare_versions(order, scm)
    if scm is not None:
        yield from _check_invoices(order, scm)
        yield from _check_goods(scm)


def _check_payment(order: Json) -> Iterator[str]:
    if order["totalPrice"] != order["priceOfLines"]:
        yield f"its total is {order['totalPrice']}, that of its lines {order['priceOfLines']}"
    if order["completedAt"] is None and order["status"] not in UNPAID_STATUSES:
        yield f"is {order['status']}, but was never paid"


def _compare_sides(order: Json, scm: Json) -> Iterator[str]:
    if scm["status"] not in RESTING_STATUSES.get(order["status"], set()):
        yield f"is {order['status']}, and {scm['status']} at SCM"
    if _quantities(order["lines"]) != _quantities(scm["lines"]):
        yield "SCM has other lines"


def _compare_versions(order: Json, scm: Json) -> Iterator[str]:
    for consumer, publisher, handled, of in (
        ("SCM", "Order", scm["handledVersion"], order),
        ("Order", "SCM", order["handledVersion"], scm),
    ):
        if handled is not None and handled > of["version"]:
            yield f"{consumer} has handled version {handled} of it, {publisher} is at version {of['version']}"
        elif of["forwardedVersion"] is not None and (handled is None or handled < of["forwardedVersion"]):
            handled = "no version" if handled is None else f"version {handled}"
            yield f"{consumer} has handled {handled} of it, {publisher} published {of['forwardedVersion']}"


def _check_invoices(order: Json | None, scm: Json) -> Iterator[str]:
    """Compare the live invoice with order and fulfilment."""
    live, expected = scm["liveInvoices"], INVOICE_STATUSES.get(scm["status"])
    if len(live) != (expected is not None):
        yield f"is {scm['status']} at SCM, and its live invoices are: {', '.join(live) or 'none'}"
        return
    invoice = live[0] if live else None
    if scm["invoiceId"] != invoice:
        yield f"its fulfilment names the invoice {scm['invoiceId']}, the live one is {invoice}"
    if scm["invoiceStatus"] != expected:
        yield f"is {scm['status']} at SCM, and its invoice is {scm['invoiceStatus']}"
    if order is None:
        return
    if order["invoiceId"] != invoice:
        yield f"knows the invoice {order['invoiceId']}, the live one is {invoice}"
    elif invoice is not None and scm["addressDigest"] != order["addressDigest"]:
        yield f"its {'invoice has' if scm['status'] == 'INVOICED' else 'parcel went to'} another address"


def _check_goods(scm: Json) -> Iterator[str]:
    """Compare a fulfilment with its reservations, its claims while it waits, and its purchases."""
    status, lines = scm["status"], _quantities(scm["lines"])
    if _quantities(scm["reserved"]) != (lines if status in ("RESERVED", "INVOICED") else {}):
        yield f"is {status} at SCM, with {_shown(scm['reserved'])} reserved for it"
    if scm["waiting"] != (status == "SHORT"):
        yield f"is {status} at SCM, and {'waits' if scm['waiting'] else 'does not wait'} for goods"
    elif scm["parked"]:
        yield "waits for goods, but is parked and not retried"
    elif scm["waiting"] and _quantities(scm["claimed"]) != lines:
        yield f"waits for goods, and claims {_shown(scm['claimed'])}"
    if status == "SHORT" and not scm["isBought"]:
        yield "is short of goods, and nothing was bought for it"


@dataclass
class Articles:
    """Pieces by article over all orders. Memory grows with the articles, not with the orders."""

    reserved: Counter[str] = field(default_factory=Counter)
    dispatched: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    ordered: Counter[str] = field(default_factory=Counter)
    """On completed orders."""
    counted: Counter[str] = field(default_factory=Counter)
    """By demand."""
    needed: set[str] = field(default_factory=set)
    """Articles of orders at SCM that are not cancelled."""
    known: set[str] = field(default_factory=set)
    """Articles with a stock row."""

    def add(self, scm: Json) -> None:
        """Add the goods of a fulfilment."""
        _add(self.reserved, scm["reserved"])
        if scm["status"] != "CANCELLED":
            self.needed.update(line["sku"] for line in scm["lines"])
        if scm["status"] in _DISPATCHED:
            _add(self.dispatched, scm["lines"])

    def check_stock(self, article: Json) -> Iterator[str]:
        """Compare the stock of an article with its movements, orders and purchase orders."""
        sku = article["sku"]
        self.known.add(sku)
        on_hand, reserved = article["onHand"], article["reserved"]
        if on_hand != article["moved"]:
            yield f"{on_hand} in stock, but the sum of its movements is {article['moved']}"
        if reserved != self.reserved[sku]:
            yield f"{reserved} reserved, but {self.reserved[sku]} for orders"
        if not 0 <= reserved <= on_hand:
            yield f"{reserved} reserved of {on_hand} in stock"
        dispatched, received = self.dispatched[sku], self.received[sku]
        if article["dispatched"] != dispatched:
            yield f"{dispatched} on dispatched orders, but {article['dispatched']} taken out of stock"
        if article["received"] != received:
            yield f"{received} received on purchase orders, but {article['received']} taken into stock"

    def check_others(self) -> Iterator[tuple[str, str]]:
        """Yield article and sentence for the demand, and for articles without a stock row. Requires
        `check_stock` of all others."""
        for sku in sorted(self.ordered.keys() | self.counted.keys()):
            if self.ordered[sku] != self.counted[sku]:
                yield sku, f"{self.ordered[sku]} on completed orders, but demand counted {self.counted[sku]}"
        for sku in sorted((self.needed | self.reserved.keys() | self.received.keys()) - self.known):
            yield sku, "has orders or purchases, but no stock row"


def check_events(service: str, counts: Json) -> Iterator[str]:
    """Check that no event of a service waits or is parked."""
    for state in ("waiting", "parked"):
        if counts[state]:
            yield f"{service}: events {state}: {counts[state]}"


def check_stations(found: Json) -> Iterator[str]:
    """Check the console's view of all services and queues: everything answers, listens and is empty."""
    for service in found["services"]:
        if service["status"] != "up":
            yield f"{service['id']}: not checked, it is {service['status']}: {service['trouble']}"
    for station in found["stations"]:
        name, kind = station["name"], station["kind"]
        if kind == "listener" and station["status"] == "paused":
            yield f"queue {name}: its listener is paused"
        elif kind in ("queue", "dead_letters") and station["trouble"]:
            yield f"queue {name}: not checked: {station['trouble']}"
        elif kind == "queue" and station["isForeign"]:
            yield f"queue {name}: not checked, no registered service listens to it"
        elif kind == "dead_letters" and station["waiting"]:
            yield f"queue {name}: dead letters: {station['waiting']}"


def _add(total: Counter[str], lines: list[Json]) -> None:
    for line in lines:
        total[line["sku"]] += line["quantity"]


def _quantities(lines: list[Json]) -> dict[str, int]:
    return {line["sku"]: line["quantity"] for line in lines}


def _shown(lines: list[Json]) -> str:
    return ", ".join(f"{each['quantity']} {each['sku']}" for each in lines) or "nothing"
