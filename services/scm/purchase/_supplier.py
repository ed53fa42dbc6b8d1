"""Supplier: the steps that one takes with a purchase order."""

from collections.abc import Mapping

import structlog
from snsqs.postgres import Transaction

from services.scm.events import GoodsReceived, Line
from services.scm.purchase import _store as store
from services.scm.purchase._purchase_order import NotAllowed, PurchaseOrder

log = structlog.get_logger(__name__)


async def confirm(purchase_order_id: int, tx: Transaction) -> PurchaseOrder:
    """The supplier will deliver. Raises UnknownPurchaseOrder."""
    confirmed = (await store.find_for_update(tx.connection, purchase_order_id)).confirmed()
    await store.update(tx.connection, confirmed)
    return confirmed


async def receive(
    purchase_order_id: int, delivery_note: str, quantities: Mapping[str, int], tx: Transaction
) -> PurchaseOrder:
    """Goods have come under a delivery note; said again, it has no effect. Raises UnknownPurchaseOrder,
    NotAllowed."""
    found = await store.find_for_update(tx.connection, purchase_order_id)
    before = await store.received_under(tx.connection, purchase_order_id, delivery_note)
    if before == quantities:
        return found
    if before is not None:
        goods = ", ".join(f"{sku} {quantity}" for sku, quantity in sorted(before.items()))
        raise NotAllowed(f"other goods have come under delivery note {delivery_note}: {goods}")
    received = found.with_received(quantities)
    await store.update(tx.connection, received)
    await store.receive(tx.connection, purchase_order_id, delivery_note, quantities)
    log.info("goods received", purchase_order=purchase_order_id, delivery_note=delivery_note)
    lines = tuple(Line(sku, quantity) for sku, quantity in sorted(quantities.items()))
    await tx.publish(GoodsReceived(lines, f"purchase order {purchase_order_id}, {delivery_note}"))
    return received
