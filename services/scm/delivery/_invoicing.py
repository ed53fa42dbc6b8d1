"""Invoicing: issues, replaces and voids delivery invoices, and records carriers' reports on them."""

from collections.abc import Callable
from uuid import UUID

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.delivery import _store as store
from services.scm.delivery._invoice import Invoice, InvoiceStatus
from services.scm.events import (
    AddressChanged,
    FulfilmentReserved,
    FulfilmentWithdrawn,
    InvoiceIssued,
    ParcelArrived,
    ParcelHandedOver,
    ReservationBegun,
)
from services.scm.order_client import CurrentOrder, OrderClient
from services.scm.order_lock import lock_order

log = structlog.get_logger(__name__)


class DeliveryInvoicing:
    """ApplicationListener that issues the delivery invoice of a reserved order, and a new one when the
    address has changed. It reads the current address from the Order service: for a reservation before stock
    is locked (ReservationBegun), except that of a waiting order whose goods arrive at that moment."""

    def __init__(self, order_client: OrderClient) -> None:
        self._order_client = order_client

    async def on_application_event(
        self, event: ReservationBegun | FulfilmentReserved | AddressChanged, tx: Transaction
    ) -> None:
        """Raises UnknownOrder, Unavailable."""
        match event:
            case ReservationBegun(order_id=order_id):
                await self._order_client.order_in(tx, order_id)
            case FulfilmentReserved(order_id=order_id):
                await _issue(await self._order_client.order_in(tx, order_id), tx)
            case AddressChanged(order_id=order_id):
                await self._replace_invoice(order_id, tx)

    async def _replace_invoice(self, order_id: str, tx: Transaction) -> None:
        """Issue a new invoice if the live one has another address and is not dispatched. Without a live
        invoice there is nothing to do: the address is read when it is issued."""
        live = await store.find_live(tx.connection, order_id)
        if live is None:
            return
        if live.status is not InvoiceStatus.ISSUED:
            log.warning("late address change ignored", invoice=str(live.id), status=live.status)
            return
        order = await self._order_client.current_order(order_id)
        if order.delivery_address != live.delivery_address:
            await _void(live, tx)
            await _issue(order, tx)


@event_listener
async def void_invoice(event: FulfilmentWithdrawn, tx: Transaction) -> None:
    """Void the live invoice of a cancelled fulfilment."""
    if live := await store.find_live(tx.connection, event.order_id):
        await _void(live, tx)


async def record_dispatched(invoice_id: UUID, tx: Transaction) -> Invoice:
    """Record that the carrier has the goods; no effect if it is recorded already. Return the invoice. Raises
    UnknownInvoice, NotAllowed."""
    return await _record(invoice_id, Invoice.dispatched, ParcelHandedOver, tx)


async def record_delivered(invoice_id: UUID, tx: Transaction) -> Invoice:
    """Record that the buyer has the goods; no effect if it is recorded already. Return the invoice. Raises
    UnknownInvoice, NotAllowed."""
    return await _record(invoice_id, Invoice.delivered, ParcelArrived, tx)


async def _record(
    invoice_id: UUID,
    transition: Callable[[Invoice], Invoice],
    event_type: type[ParcelHandedOver | ParcelArrived],
    tx: Transaction,
) -> Invoice:
    invoice = await store.find(tx.connection, invoice_id)
    await lock_order(tx, invoice.order_id)
    invoice = await store.find(tx.connection, invoice_id)  # may have been voided before the lock was free
    changed = transition(invoice)
    if changed != invoice:
        await store.update(tx.connection, changed)
        await tx.publish(event_type(invoice.order_id, str(invoice.id)))
    return changed


async def _issue(order: CurrentOrder, tx: Transaction) -> None:
    invoice = Invoice.issued(order.id, order.delivery_address)
    await store.insert(tx.connection, invoice)
    log.info("invoice issued", invoice=str(invoice.id))
    await tx.publish(InvoiceIssued(order.id, str(invoice.id), order.version))


async def _void(invoice: Invoice, tx: Transaction) -> None:
    await store.update(tx.connection, invoice.voided())
    log.info("invoice voided", invoice=str(invoice.id))
