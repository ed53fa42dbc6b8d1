"""Reserving: all lines of an order or none, and never what an order that waits has a claim to."""

from collections.abc import Sequence

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Connection, Transaction

from services.scm.events import (
    FulfilmentWithdrawn,
    GoodsFound,
    GoodsOrdered,
    GoodsReserved,
    GoodsShort,
    Line,
    ParcelHandedOver,
)
from services.scm.inventory import _stock as stock
from services.scm.inventory import _waiting as waiting
from services.scm.inventory._bell import StockFreed

log = structlog.get_logger(__name__)

SET_ASIDE = """
    WITH line AS (
        SELECT sku, quantity FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
    ), taken AS (
        UPDATE stock SET reserved = reserved + quantity FROM line WHERE stock.sku = line.sku
    )
    INSERT INTO reservation (order_id, sku, quantity)
    SELECT $1, sku, quantity
    FROM line
"""

OPEN = "SELECT sku, quantity FROM reservation WHERE order_id = $1 AND status = 'OPEN' ORDER BY sku"

CLOSE = """
    WITH closed AS (
        UPDATE reservation SET status = $2 WHERE order_id = $1 AND status = 'OPEN' RETURNING sku, quantity
    )
    UPDATE stock SET reserved = reserved - quantity FROM closed WHERE stock.sku = closed.sku
"""


@event_listener
async def reserve_goods(event: GoodsOrdered, tx: Transaction) -> None:
    """Sets all goods of the order aside; or none, says what is missing, and lets the order wait for it."""
    missing = await _set_aside(tx, event.order_id, event.lines)
    if not missing:
        await tx.publish(GoodsReserved(event.order_id))
        return
    log.info("stock short", missing={line.sku: line.quantity for line in missing})
    await waiting.begin(tx.connection, event.order_id, event.lines)
    await tx.publish(GoodsShort(event.order_id, missing))


async def serve_waiting(order_id: str, tx: Transaction) -> bool:
    """Sets all goods aside for an order that waits, and says whether it did. Whoever calls this has the
    order's turn."""
    found = await waiting.find(tx.connection, order_id)
    if found is None or await _set_aside(tx, order_id, found.lines, found.position):
        return False
    await waiting.end(tx.connection, order_id)
    await tx.publish(GoodsReserved(order_id))
    return True


@event_listener
async def release_goods(event: FulfilmentWithdrawn, tx: Transaction) -> None:
    """What was set aside for the order is free again, or what it waits for is no longer claimed. What was
    bought for it comes all the same, for whoever is next."""
    await waiting.end(tx.connection, event.order_id)
    await _close(tx.connection, event.order_id, "RELEASED")
    await tx.publish(StockFreed())


@event_listener
async def let_goods_go(event: ParcelHandedOver, tx: Transaction) -> None:
    """What was set aside for the order has left the warehouse."""
    lines = await _close(tx.connection, event.order_id, "DISPATCHED")
    gone = [Line(line.sku, -line.quantity) for line in lines]
    await stock.move(tx.connection, gone, stock.Reason.DISPATCHED, event.invoice_id)


async def _set_aside(
    tx: Transaction, order_id: str, lines: Sequence[Line], position: int = waiting.LAST
) -> tuple[Line, ...]:
    """Returns what is missing; then nothing was set aside."""
    skus, quantities = stock.columns(lines)
    if not await _missing(tx.connection, lines, position):
        await tx.publish(GoodsFound(order_id))
    await stock.lock(tx.connection, skus)
    missing = await _missing(tx.connection, lines, position)
    if not missing:
        await tx.connection.execute(SET_ASIDE, order_id, skus, quantities)
        log.info("stock reserved", lines=dict(zip(skus, quantities, strict=True)))
    return missing


async def _missing(connection: Connection, lines: Sequence[Line], position: int) -> tuple[Line, ...]:
    """Of an order at this position. It stays so only while the articles are locked."""
    free = await waiting.free(connection, [line.sku for line in lines], position)
    return tuple(
        Line(line.sku, line.quantity - max(0, left))
        for line in lines
        if line.quantity > (left := free.get(line.sku, 0))
    )


async def _close(connection: Connection, order_id: str, status: str) -> list[Line]:
    """Ends the order's reservations, and returns what they were of."""
    lines = [Line(row["sku"], row["quantity"]) for row in await connection.fetch(OPEN, order_id)]
    await stock.lock(connection, [line.sku for line in lines])
    await connection.execute(CLOSE, order_id, status)
    return lines
