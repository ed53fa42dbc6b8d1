"""The commands: each changes one order and says so, in the transaction that it is given."""

from datetime import UTC, datetime

from services.order import store
from services.order.events import (
    DeliveryAddressChanged,
    MemoWritten,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
)
from services.order.order import DeliveryAddress, Order, PlaceOrder
from shared.postgres import Transaction


async def place(command: PlaceOrder, tx: Transaction) -> Order:
    """Takes a new order."""
    order = Order.placed(store.id_at(datetime.now(UTC)), command)
    order = await store.insert(tx.connection, order)
    await tx.publish(OrderPlaced(source=order))
    return order


async def complete(order_id: str, tx: Transaction) -> Order:
    """The buyer has paid. Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).completed()
    await store.update(tx.connection, order)
    await tx.publish(OrderCompleted(source=order))
    return order


async def cancel(order_id: str, tx: Transaction) -> Order:
    """The buyer changed their mind. Once the order is paid, SCM's answer says whether that came in time.
    Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).cancelled()
    await store.update(tx.connection, order)
    await tx.publish(OrderCancelled(source=order))
    return order


async def change_delivery_address(order_id: str, address: DeliveryAddress, tx: Transaction) -> Order:
    """The goods are to go somewhere else. Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).sent_to(address)
    await store.update(tx.connection, order)
    await tx.publish(DeliveryAddressChanged(source=order))
    return order


async def write_memo(order_id: str, memo: str, tx: Transaction) -> Order:
    """Puts a note on the order, in place of the one before. Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).with_memo(memo)
    await store.update(tx.connection, order)
    await tx.publish(MemoWritten(source=order))
    return order
