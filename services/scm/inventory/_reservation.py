"""Reserving: all lines of an order or none."""

import structlog

from services.scm.events import GoodsOrdered, GoodsReserved, GoodsShort, Line
from shared.events import event_listener
from shared.postgres import Transaction

log = structlog.get_logger(__name__)

# Locked in the order of the articles, so that two orders for the same ones never wait for each other.
LOCK = """
    SELECT sku, on_hand - reserved AS available
    FROM stock
    WHERE sku = ANY ($1)
    ORDER BY sku
    FOR UPDATE
"""

TAKE = """
    UPDATE stock
    SET reserved = reserved + line.quantity
    FROM unnest($1::text[], $2::bigint[]) AS line (sku, quantity)
    WHERE stock.sku = line.sku
"""

RESERVE = """
    INSERT INTO reservation (order_id, sku, quantity)
    SELECT $1, line.sku, line.quantity
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
"""


@event_listener
async def reserve_goods(event: GoodsOrdered, tx: Transaction) -> None:
    """Sets all goods of the order aside, or says what is missing and sets none aside."""
    skus = [line.sku for line in event.lines]
    quantities = [line.quantity for line in event.lines]
    available = {row["sku"]: row["available"] for row in await tx.connection.fetch(LOCK, skus)}
    missing = tuple(
        Line(line.sku, line.quantity - available.get(line.sku, 0))
        for line in event.lines
        if line.quantity > available.get(line.sku, 0)
    )
    if missing:
        log.info("stock short", missing={line.sku: line.quantity for line in missing})
        await tx.publish(GoodsShort(event.order_id, missing))
        return
    await tx.connection.execute(TAKE, skus, quantities)
    await tx.connection.execute(RESERVE, event.order_id, skus, quantities)
    log.info("stock reserved", lines=dict(zip(skus, quantities, strict=True)))
    await tx.publish(GoodsReserved(event.order_id))
