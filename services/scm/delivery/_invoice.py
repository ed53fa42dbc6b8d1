"""Invoices: one for each order whose goods are set aside."""

import uuid

import structlog

from services.scm.delivery._orders import Orders
from services.scm.events import GoodsReserved, InvoiceIssued
from shared.postgres import Transaction

log = structlog.get_logger(__name__)

ISSUE = "INSERT INTO invoice (id, order_id, delivery_address) VALUES ($1, $2, $3)"


class Delivery:
    """An ApplicationListener: when the goods are set aside, it asks where they are to go, and issues the
    delivery invoice."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def on_application_event(self, event: GoodsReserved, tx: Transaction) -> None:
        address = await self._orders.delivery_address(event.order_id)
        invoice_id = str(uuid.uuid4())
        await tx.connection.execute(ISSUE, invoice_id, event.order_id, address)
        log.info("invoice issued", invoice=invoice_id)
        await tx.publish(InvoiceIssued(event.order_id, invoice_id))
