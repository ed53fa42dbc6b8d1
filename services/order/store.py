"""Where orders are kept: one row each, whose JSON columns are the aggregate's parts."""

from asyncpg import Record
from snsqs.postgres import Connection

from services.order.order import Order, UnknownOrder
from services.order.order_id import is_id, next_id

# When two orders meet in one microsecond, the later one takes the next.
INSERT = """
    INSERT INTO orders (
        id, version, status, buyer, delivery_address, order_lines, total_price, memo, invoice_id,
        placed_at, completed_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""

UPDATE = """
    UPDATE orders
    SET version = $2, status = $3, buyer = $4, delivery_address = $5, order_lines = $6, total_price = $7,
        memo = $8, invoice_id = $9, placed_at = $10, completed_at = $11
    WHERE id = $1
"""

FIND = """
    SELECT id, version, status, buyer, delivery_address, order_lines, total_price, memo, invoice_id,
           placed_at, completed_at
    FROM orders
    WHERE id = $1
"""

FIND_FOR_UPDATE = f"{FIND} FOR UPDATE"


async def insert(connection: Connection, order: Order) -> Order:
    """Stores a new order, under the next free id from the one that it has. Returns it with that id."""
    while await connection.fetchval(INSERT, *_row(order)) is None:
        order = order.under(next_id(order.id))
    return order


async def update(connection: Connection, order: Order) -> None:
    """Stores a changed order, which was found with `find_for_update` in the same transaction."""
    await connection.execute(UPDATE, *_row(order))


async def find(connection: Connection, order_id: str) -> Order:
    """The order as it is now. Raises UnknownOrder."""
    return await _find(connection, FIND, order_id)


async def find_for_update(connection: Connection, order_id: str) -> Order:
    """The order, locked until the transaction ends. Raises UnknownOrder."""
    return await _find(connection, FIND_FOR_UPDATE, order_id)


def order(row: Record) -> Order:
    return Order.model_validate(dict(row), by_name=True)


async def _find(connection: Connection, statement: str, order_id: str) -> Order:
    if not is_id(order_id):
        raise UnknownOrder("there is no order with this id: an order id has 20 digits")
    row = await connection.fetchrow(statement, order_id)
    if row is None:
        raise UnknownOrder(f"there is no order {order_id}")
    return order(row)


def _row(order: Order) -> list[object]:
    return [
        order.id,
        order.version,
        order.status,
        order.buyer,
        order.delivery_address,
        order.order_lines,
        order.total_price,
        order.memo,
        order.invoice_id,
        order.placed_at,
        order.completed_at,
    ]
