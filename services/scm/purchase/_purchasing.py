"""Purchasing: raises purchase orders for shortages and records suppliers' confirmations and deliveries."""

from collections.abc import Mapping

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import GoodsReceived, GoodsShort, Line
from services.scm.purchase import _store as store
from services.scm.purchase._purchase_order import NotAllowed, PurchaseOrder

log = structlog.get_logger(__name__)


@event_listener
async def buy_missing_goods(event: GoodsShort, tx: Transaction) -> None:
    """Raise a purchase order to each supplier of the missing goods. The order's stock is locked, so nothing
    that others wait for may be locked here."""
    skus = [line.sku for line in event.missing]
    quantities = [line.quantity for line in event.missing]
    for purchase_order_id, supplier in await store.insert(tx.connection, event.order_id, skus, quantities):
        log.info("purchase order raised", purchase_order=purchase_order_id, supplier=supplier)


async def confirm(purchase_order_id: int, tx: Transaction) -> PurchaseOrder:
    """Record that the supplier will deliver; no effect if it is recorded already. Return the purchase order.
    Raises UnknownPurchaseOrder."""
    confirmed = (await store.find_for_update(tx.connection, purchase_order_id)).confirmed()
    await store.update(tx.connection, confirmed)
    return confirmed


async def receive(
    purchase_order_id: int, delivery_note: str, quantities: Mapping[str, int], tx: Transaction
) -> PurchaseOrder:
    """Record goods delivered with a delivery note: quantities by SKU. No effect if it is recorded already.
    Return the purchase order. Raises UnknownPurchaseOrder; NotAllowed, also for other goods with the same
    note."""
    purchase_order = await store.find_for_update(tx.connection, purchase_order_id)
    before = await store.find_receipt(tx.connection, purchase_order_id, delivery_note)
    if before == quantities:
        return purchase_order
    if before is not None:
        goods = ", ".join(f"{sku} {quantity}" for sku, quantity in sorted(before.items()))
        raise NotAllowed(f"other goods were received with delivery note {delivery_note}: {goods}")
    received = purchase_order.with_received(quantities)
    await store.update(tx.connection, received)
    await store.insert_receipt(tx.connection, purchase_order_id, delivery_note, quantities)
    log.info("goods received", purchase_order=purchase_order_id, delivery_note=delivery_note)
    lines = tuple(Line(sku, quantity) for sku, quantity in sorted(quantities.items()))
    await tx.publish(GoodsReceived(lines, f"purchase order {purchase_order_id}, {delivery_note}"))
    return received
