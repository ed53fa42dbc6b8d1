"""The commands: each changes one order and says so, in the transaction that it is given."""

from datetime import UTC, datetime

from services.order import store
from services.order.events import MemoWritten, OrderCancelled, OrderCompleted, OrderPlaced
from services.order.order import Order, PlaceOrder
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
    """The buyer changed their mind before paying. Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).cancelled()
    await store.update(tx.connection, order)
    await tx.publish(OrderCancelled(source=order))
    return order


async def write_memo(order_id: str, memo: str, tx: Transaction) -> Order:
    """Puts a note on the order, in place of the one before. Raises UnknownOrder, NotAllowed."""
    order = (await store.find_for_update(tx.connection, order_id)).with_memo(memo)
    await store.update(tx.connection, order)
    await tx.publish(MemoWritten(source=order))
    return order
