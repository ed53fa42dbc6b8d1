"""Stock: pieces on hand per article, and the ledger of their movements.

Receipts and counts change what is on hand here; dispatches in `_reservation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from snsqs.events import event_listener
from snsqs.postgres import Connection, Transaction

from services.scm.events import GoodsReceived, Line

# Locks in the order of SKUs, so that two transactions cannot deadlock. An unknown article is inserted,
# because a missing row cannot be locked. The update only locks; it changes nothing.
LOCK = """
    INSERT INTO stock (sku, on_hand)
    SELECT sku, 0
    FROM unnest($1::text[]) AS sku
    ORDER BY sku
    ON CONFLICT (sku) DO UPDATE SET on_hand = 0 WHERE false
"""

MOVE = """
    WITH moved AS (
        UPDATE stock
        SET on_hand = on_hand + line.quantity
        FROM unnest($1::text[], $2::bigint[]) AS line (sku, quantity)
        WHERE stock.sku = line.sku
        RETURNING line.sku, line.quantity
    )
    INSERT INTO stock_movement (sku, quantity, reason, reference)
    SELECT sku, quantity, $3, $4
    FROM moved
"""

ON_HAND = "SELECT on_hand, reserved FROM stock WHERE sku = $1"


class CountBelowReserved(Exception):
    """The count is lower than the pieces reserved for orders. Cancel orders first, or count again."""


@dataclass(frozen=True)
class StockFreed:
    """In-process event: more of an article is available, or less of it is claimed by waiting orders."""


class Reason(StrEnum):
    """Reason of a movement."""

    OPENED = "OPENED"
    """Stock that existed when the ledger began."""
    COUNTED = "COUNTED"
    """Difference that a count found."""
    RECEIVED = "RECEIVED"
    DISPATCHED = "DISPATCHED"


@event_listener
async def receive_goods(event: GoodsReceived, tx: Transaction) -> None:
    """Add received goods to the stock."""
    await lock(tx.connection, [line.sku for line in event.lines])
    await move(tx.connection, event.lines, Reason.RECEIVED, event.reference)
    await tx.publish(StockFreed())


async def record_count(sku: str, on_hand: int, operator: str, tx: Transaction) -> None:
    """Set the pieces on hand to a count. Reservations stay. `operator` becomes the movement's reference.
    Raises CountBelowReserved."""
    await lock(tx.connection, [sku])
    row = await tx.connection.fetchrow(ON_HAND, sku)
    assert row is not None
    if on_hand < row["reserved"]:
        raise CountBelowReserved(
            f"{row['reserved']} of {sku} are reserved for orders, which is more than {on_hand}"
        )
    if difference := on_hand - row["on_hand"]:
        await move(tx.connection, [Line(sku, difference)], Reason.COUNTED, operator)
        await tx.publish(StockFreed())


async def lock(connection: Connection, skus: Sequence[str]) -> bool:
    """Lock the rows of these articles, without duplicates, until the transaction ends. Required before
    reading stock for a decision and before changing it. Return whether all of them existed."""
    status: str = await connection.execute(LOCK, skus)
    return status == "INSERT 0 0"


async def move(connection: Connection, lines: Sequence[Line], reason: Reason, reference: str | None) -> None:
    """Change the pieces on hand of locked articles and record the movements in the ledger."""
    await connection.execute(MOVE, *columns(lines), reason, reference)


def columns(lines: Sequence[Line]) -> tuple[list[str], list[int]]:
    """Return SKUs and quantities as separate lists, for `unnest`."""
    return [line.sku for line in lines], [line.quantity for line in lines]
