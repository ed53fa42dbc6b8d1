"""What comes in: goods that a supplier brought, and what somebody counted."""

from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import GoodsReceived, Line
from services.scm.inventory import _stock as stock
from services.scm.inventory._bell import StockFreed

ON_HAND = "SELECT on_hand, reserved FROM stock WHERE sku = $1"


class SetAside(Exception):
    """The count is less than what is set aside for orders. Cancel orders first, or count again."""


@event_listener
async def take_in_goods(event: GoodsReceived, tx: Transaction) -> None:
    """There is more on hand."""
    await stock.lock(tx.connection, [line.sku for line in event.lines])
    await stock.move(tx.connection, event.lines, stock.Reason.RECEIVED, event.reference)
    await tx.publish(StockFreed())


async def record_count(sku: str, on_hand: int, counted_by: str, tx: Transaction) -> None:
    """What was counted replaces what was thought to be there; what is set aside for orders stays set aside.
    Raises SetAside."""
    await stock.lock(tx.connection, [sku])
    row = await tx.connection.fetchrow(ON_HAND, sku)
    assert row is not None
    if on_hand < row["reserved"]:
        raise SetAside(f"{row['reserved']} of {sku} are set aside for orders, which is more than {on_hand}")
    if difference := on_hand - row["on_hand"]:
        await stock.move(tx.connection, [Line(sku, difference)], stock.Reason.COUNTED, counted_by)
        await tx.publish(StockFreed())
