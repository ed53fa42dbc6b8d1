"""Reservation: reserves all lines of an order or none, and never goods that a waiting order claims."""

from collections.abc import Sequence

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Connection, Transaction

from services.scm.events import (
    FulfilmentOpened,
    FulfilmentWithdrawn,
    GoodsReserved,
    GoodsShort,
    Line,
    ParcelHandedOver,
    ReservationBegun,
)
from services.scm.inventory import _stock as stock
from services.scm.inventory import _waiting as waiting
from services.scm.inventory._stock import StockFreed

log = structlog.get_logger(__name__)

RESERVE = """
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
async def reserve_goods(event: FulfilmentOpened, tx: Transaction) -> None:
    """Reserve all goods of the order; if some are missing, let it wait. Publishes GoodsReserved or
    GoodsShort."""
    missing = await _reserve(tx, event.order_id, event.lines)
    if not missing:
        await tx.publish(GoodsReserved(event.order_id))
        return
    log.info("stock short", missing={line.sku: line.quantity for line in missing})
    await waiting.insert(tx.connection, event.order_id, event.lines)
    await tx.publish(GoodsShort(event.order_id, missing))


async def reserve_for_waiting(order_id: str, tx: Transaction) -> bool:
    """Reserve all goods of a waiting order if there are enough now. Return whether it was. Requires the order
    lock."""
    order = await waiting.find_due(tx.connection, order_id)
    if order is None or await _reserve(tx, order_id, order.lines, order.position):
        return False
    await waiting.delete(tx.connection, order_id)
    await tx.publish(GoodsReserved(order_id))
    return True


@event_listener
async def release_goods(event: FulfilmentWithdrawn, tx: Transaction) -> None:
    """Release the order's reservations, or its claim if it waits. Purchase orders raised for it stay; their
    goods become free stock."""
    await waiting.delete(tx.connection, event.order_id)
    await _close(tx.connection, event.order_id, "RELEASED")
    await tx.publish(StockFreed())


@event_listener
async def dispatch_goods(event: ParcelHandedOver, tx: Transaction) -> None:
    """Take the order's reserved goods off the stock."""
    lines = await _close(tx.connection, event.order_id, "DISPATCHED")
    removed = [Line(line.sku, -line.quantity) for line in lines]
    await stock.move(tx.connection, removed, stock.Reason.DISPATCHED, event.invoice_id)


async def _reserve(
    tx: Transaction, order_id: str, lines: Sequence[Line], position: int = waiting.LAST
) -> tuple[Line, ...]:
    """Reserve the lines for an order at this position of the queue. Return the missing goods; if there are
    any, nothing was reserved."""
    skus, quantities = stock.columns(lines)
    if position == waiting.LAST or not await _missing(tx.connection, lines, position):
        await tx.publish(ReservationBegun(order_id, tuple(lines)))
    await stock.lock(tx.connection, skus)
    missing = await _missing(tx.connection, lines, position)
    if not missing:
        await tx.connection.execute(RESERVE, order_id, skus, quantities)
        log.info("stock reserved", lines=dict(zip(skus, quantities, strict=True)))
    return missing


async def _missing(connection: Connection, lines: Sequence[Line], position: int) -> tuple[Line, ...]:
    """Return the missing goods. Reliable only while the articles are locked."""
    free = await waiting.free_quantities(connection, [line.sku for line in lines], position)
    return tuple(
        Line(line.sku, line.quantity - max(0, left))
        for line in lines
        if line.quantity > (left := free.get(line.sku, 0))
    )


async def _close(connection: Connection, order_id: str, status: str) -> list[Line]:
    """End the order's open reservations with this status. Return their lines."""
    lines = [Line(row["sku"], row["quantity"]) for row in await connection.fetch(OPEN, order_id)]
    await stock.lock(connection, [line.sku for line in lines])
    await connection.execute(CLOSE, order_id, status)
    return lines
