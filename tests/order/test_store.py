"""Store of orders: every field is stored."""

from datetime import UTC, datetime

from snsqs.postgres import Database

from services.order import store
from services.order.order import Order, PlaceOrder, Status
from tests.order.test_api import ORDER

COLUMNS = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'orders'"


async def test_every_field_of_an_order_has_a_column(database: Database) -> None:
    """A field without a column could not be stored, a column without a field would never be read."""
    async with database.connection() as connection:
        columns = {row["column_name"] for row in await connection.fetch(COLUMNS)}
    fields = set(Order.model_fields)
    assert not fields - columns, (
        f"no column in `orders` for {', '.join(sorted(fields - columns))}: add a migration in "
        "services/order/migrations"
    )
    assert not columns - fields, (
        f"no field of Order for the column {', '.join(sorted(columns - fields))}: add it in "
        "services/order/order.py, or drop the column in a migration"
    )


async def test_every_field_is_stored(database: Database) -> None:
    """Inserted and updated, with a value in each field."""
    placed = Order.placed("20210717235959000000", PlaceOrder.model_validate(ORDER))
    changed = placed.model_copy(
        update={
            "version": 7,
            "status": Status.SHIPPED,
            "buyer": placed.buyer.model_copy(update={"name": "Another"}),
            "delivery_address": placed.delivery_address.model_copy(update={"city": "Another"}),
            "order_lines": placed.order_lines * 2,
            "total_price": 7,
            "memo": "Ring twice",
            "invoice_id": "an-invoice",
            "placed_at": datetime(2021, 7, 18, tzinfo=UTC),
            "completed_at": datetime(2021, 7, 19, tzinfo=UTC),
        }
    )
    unchanged = {name for name in Order.model_fields if getattr(placed, name) == getattr(changed, name)}
    assert unchanged == {"id"}, f"give the new field {unchanged - {'id'}} another value in this test"
    async with database.transaction() as tx:
        await store.insert(tx.connection, placed)
        assert await store.find(tx.connection, placed.id) == placed
        await store.update(tx.connection, changed)
        assert await store.find(tx.connection, placed.id) == changed
