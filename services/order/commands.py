"""The commands: each changes one order and says so, in the transaction that it is given.

`versions` are those that the client has in mind, None for any. The commands on an order raise UnknownOrder,
VersionMismatch when it is at none of the versions, and NotAllowed.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from snsqs.postgres import Transaction

from services.order import former_address, store
from services.order.events import (
    DeliveryAddressChanged,
    MemoWritten,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
)
from services.order.order import DeliveryAddress, Order, PlaceOrder
from services.order.order_id import id_at

Versions = Collection[int] | None


async def place(command: PlaceOrder, tx: Transaction) -> Order:
    """Takes a new order."""
    order = Order.placed(id_at(datetime.now(UTC)), command)
    order = await store.insert(tx.connection, order)
    await tx.publish(OrderPlaced(source=order))
    return order


async def complete(order_id: str, versions: Versions, tx: Transaction) -> Order:
    """The buyer has paid."""
    order = (await _found(order_id, versions, tx)).completed()
    await store.update(tx.connection, order)
    await tx.publish(OrderCompleted(source=order))
    return order


async def cancel(order_id: str, versions: Versions, tx: Transaction) -> Order:
    """The buyer changed their mind. Once the order is paid, SCM's answer says whether that came in time."""
    order = (await _found(order_id, versions, tx)).cancelled()
    await store.update(tx.connection, order)
    await tx.publish(OrderCancelled(source=order))
    return order


async def change_delivery_address(
    order_id: str, versions: Versions, address: DeliveryAddress, tx: Transaction
) -> Order:
    """The goods are to go somewhere else, unless they have left already: then SCM's answer takes it back."""
    before = await _found(order_id, versions, tx)
    order = before.sent_to(address)
    await former_address.keep(tx.connection, before, until=order.version)
    await store.update(tx.connection, order)
    await tx.publish(DeliveryAddressChanged(source=order))
    return order


async def write_memo(order_id: str, versions: Versions, memo: str, tx: Transaction) -> Order:
    """Puts a note on the order, in place of the one before."""
    order = (await _found(order_id, versions, tx)).with_memo(memo)
    await store.update(tx.connection, order)
    await tx.publish(MemoWritten(source=order))
    return order


async def _found(order_id: str, versions: Versions, tx: Transaction) -> Order:
    order = await store.find_for_update(tx.connection, order_id)
    order.must_be_at(versions)
    return order
