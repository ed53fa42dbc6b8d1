"""Issuing: the goods that are set aside for an order have one invoice, with the address as it is then."""

from weakref import WeakKeyDictionary

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.delivery import _store as store
from services.scm.delivery._invoice import Invoice, Status
from services.scm.delivery._orders import CurrentOrder, Orders
from services.scm.events import AddressChanged, FulfilmentWithdrawn, GoodsFound, GoodsReserved, InvoiceIssued

log = structlog.get_logger(__name__)


class Delivery:
    """An ApplicationListener: when there are goods it asks where they are to go, and when they are set aside
    it issues the delivery invoice; when the address has changed, it asks again."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._asked = WeakKeyDictionary[Transaction, CurrentOrder]()

    async def on_application_event(
        self, event: GoodsFound | GoodsReserved | AddressChanged, tx: Transaction
    ) -> None:
        match event:
            case GoodsFound(order_id=order_id):
                await self._ask(order_id, tx)
            case GoodsReserved(order_id=order_id):
                await _issue(await self._ask(order_id, tx), tx)
            case AddressChanged(order_id=order_id):
                await self._follow(order_id, tx)

    async def _ask(self, order_id: str, tx: Transaction) -> CurrentOrder:
        """Once in a transaction, which is about one order. Goods that came at the last moment were not found
        before."""
        if tx not in self._asked:
            self._asked[tx] = await self._orders.current(order_id)
        return self._asked[tx]

    async def _follow(self, order_id: str, tx: Transaction) -> None:
        """Issues a new invoice in place of one that has another address, as long as nothing travels under it.
        Without one there is nothing to do: the address is asked for when it is issued."""
        live = await store.find_live(tx.connection, order_id)
        if live is None:
            return
        if live.status is not Status.ISSUED:
            log.warning("address changed too late", invoice=str(live.id), status=live.status)
            return
        order = await self._orders.current(order_id)
        if order.delivery_address != live.delivery_address:
            await _void(live, tx)
            await _issue(order, tx)


@event_listener
async def void_invoice(event: FulfilmentWithdrawn, tx: Transaction) -> None:
    """Nothing may travel for an order that is withdrawn."""
    if live := await store.find_live(tx.connection, event.order_id):
        await _void(live, tx)


async def _issue(order: CurrentOrder, tx: Transaction) -> None:
    invoice = Invoice.issued(order.id, order.delivery_address)
    await store.insert(tx.connection, invoice)
    log.info("invoice issued", invoice=str(invoice.id))
    await tx.publish(InvoiceIssued(order.id, str(invoice.id), order.version))


async def _void(invoice: Invoice, tx: Transaction) -> None:
    await store.update(tx.connection, invoice.voided())
    log.info("invoice voided", invoice=str(invoice.id))
