"""Commands: each changes one order and publishes the event, in the caller's transaction.

`versions` is the client's precondition: the versions at which the order may be changed, None for any.
Commands on an existing order raise UnknownOrder, VersionMismatch and NotAllowed.
"""

from collections.abc import Container
from datetime import UTC, datetime

from snsqs.postgres import Transaction

from services.order import store
from services.order.events import (
    DeliveryAddressChanged,
    MemoWritten,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
)
from services.order.order import DeliveryAddress, Order, PlaceOrder
from services.order.order_id import id_at

Versions = Container[int] | None


async def place(command: PlaceOrder, tx: Transaction) -> Order:
    """Place a new order."""
    order = Order.placed(id_at(datetime.now(UTC)), command)
    order = await store.insert(tx.connection, order)
    await tx.publish(OrderPlaced(source=order))
    return order


async def complete(order_id: str, versions: Versions, tx: Transaction) -> Order:
    """Complete an order that was paid."""
    order = (await _find_at(order_id, versions, tx)).completed()
    await store.update(tx.connection, order)
    await tx.publish(OrderCompleted(source=order))
    return order


async def cancel(order_id: str, versions: Versions, tx: Transaction) -> Order:
    """Cancel an order. A paid one is CANCELLING until SCM accepts or rejects the cancellation."""
    order = (await _find_at(order_id, versions, tx)).cancelled()
    await store.update(tx.connection, order)
    await tx.publish(OrderCancelled(source=order))
    return order


async def change_delivery_address(
    order_id: str, versions: Versions, address: DeliveryAddress, tx: Transaction
) -> Order:
    """Change the delivery address. If the goods have already left, SCM's reply reverts the change."""
    before = await _find_at(order_id, versions, tx)
    order = before.readdressed(address)
    await store.insert_former_address(tx.connection, before, until_version=order.version)
    await store.update(tx.connection, order)
    await tx.publish(DeliveryAddressChanged(source=order))
    return order


async def write_memo(order_id: str, versions: Versions, memo: str, tx: Transaction) -> Order:
    """Replace the order's memo."""
    order = (await _find_at(order_id, versions, tx)).with_memo(memo)
    await store.update(tx.connection, order)
    await tx.publish(MemoWritten(source=order))
    return order


async def _find_at(order_id: str, versions: Versions, tx: Transaction) -> Order:
    order = await store.find_for_update(tx.connection, order_id)
    order.require_version(versions)
    return order
