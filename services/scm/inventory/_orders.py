"""What inventory has for an order, or the order waits for; for those who put SCM's side of it together."""

from collections.abc import Sequence
from datetime import datetime

from snsqs import WireModel
from snsqs.postgres import Connection

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


class Reservation(WireModel):
    """So many of one article: set aside (OPEN), free again (RELEASED), or gone to the buyer (DISPATCHED)."""

    sku: str
    quantity: int
    status: str


class StockOfOrder(WireModel):
    """An order either has reservations or waits; one that was cancelled while it waited has neither."""

    reservations: list[Reservation]
    waiting_since: datetime | None = None
    waiting_error: str | None = None
    """Why it still waits although there were goods for it."""
    waiting_parked_at: datetime | None = None
    """Since when it is not tried again by itself, and claims nothing."""


async def of_orders(connection: Connection, order_ids: Sequence[str]) -> dict[str, StockOfOrder]:
    """By order id; each of the orders is there, also one that inventory has nothing of."""
    reservations: dict[str, list[Reservation]] = {order_id: [] for order_id in order_ids}
    for row in await connection.fetch(RESERVATIONS, order_ids):
        reservations[row["order_id"]].append(Reservation.model_validate(dict(row), by_name=True))
    waiting = {row["order_id"]: dict(row) for row in await connection.fetch(WAITING, order_ids)}
    return {
        order_id: StockOfOrder(reservations=reservations[order_id], **waiting.get(order_id, {}))
        for order_id in order_ids
    }


async def of_order(connection: Connection, order_id: str) -> StockOfOrder:
    return (await of_orders(connection, [order_id]))[order_id]
