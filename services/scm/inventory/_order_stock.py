"""Inventory's state of an order, for overview and reconciliation."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from snsqs import WireModel
from snsqs.postgres import Connection

from services.scm.events import Line

RESERVATIONS = """
    SELECT order_id, sku, quantity, status
    FROM reservation
    WHERE order_id = ANY ($1)
    ORDER BY order_id, sku
"""

WAITING = """
    SELECT order_id, since AS waiting_since, last_error AS waiting_error, parked_at AS waiting_parked_at
    FROM waiting_order
    WHERE order_id = ANY ($1)
"""

CLAIMS = """
    SELECT order_id, sku, quantity
    FROM waiting_line
    WHERE order_id = ANY ($1) AND position IS NOT NULL
    ORDER BY order_id, sku
"""


class Reservation(WireModel):
    """Pieces of one article: reserved (OPEN), released (RELEASED) or dispatched (DISPATCHED)."""

    sku: str
    quantity: int
    status: str


class OrderStock(WireModel):
    """Reservations of an order, or since when it waits; neither if it was cancelled while it waited."""

    reservations: list[Reservation]
    waiting_since: datetime | None = None
    waiting_error: str | None = None
    """Last error of an attempt to reserve goods for the waiting order."""
    waiting_parked_at: datetime | None = None
    """Time since which it is parked: not retried, and without a claim."""


async def stock_of_orders(connection: Connection, order_ids: Sequence[str]) -> dict[str, OrderStock]:
    """Return the state of each order by its id; an empty one for an unknown order."""
    reservations: dict[str, list[Reservation]] = {order_id: [] for order_id in order_ids}
    for row in await connection.fetch(RESERVATIONS, order_ids):
        reservations[row["order_id"]].append(Reservation.model_validate(dict(row), by_name=True))
    waiting = {row["order_id"]: dict(row) for row in await connection.fetch(WAITING, order_ids)}
    return {
        order_id: OrderStock(reservations=reservations[order_id], **waiting.get(order_id, {}))
        for order_id in order_ids
    }


async def stock_of_order(connection: Connection, order_id: str) -> OrderStock:
    """Return the state of an order; an empty one for an unknown order."""
    return (await stock_of_orders(connection, [order_id]))[order_id]


async def claims_of_orders(connection: Connection, order_ids: Sequence[str]) -> dict[str, list[Line]]:
    """Return the pieces that waiting orders claim, by order id."""
    claims = defaultdict[str, list[Line]](list)
    for row in await connection.fetch(CLAIMS, order_ids):
        claims[row["order_id"]].append(Line(row["sku"], row["quantity"]))
    return claims
