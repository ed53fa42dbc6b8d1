"""Store of orders: one row per order, with a column for each field of the aggregate, its parts as JSON.

A former delivery address is kept for each change, because a parcel may have left with it.
"""

from asyncpg import Record
from snsqs.postgres import Connection

from services.order.order import DeliveryAddress, Order, UnknownOrder
from services.order.order_id import is_id, next_id

_FIELDS = tuple(Order.model_fields)
"""Columns of the table, one for each field of an order, so that none is forgotten."""

_PARAMETERS = ", ".join(f"${number}" for number in range(1, len(_FIELDS) + 1))

_COLUMNS = ", ".join(_FIELDS)

# When two orders are placed in one microsecond, the later one takes the next id.
INSERT = f"""
    INSERT INTO orders ({_COLUMNS})
    VALUES ({_PARAMETERS})
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""  # noqa: S608 - names of fields

UPDATE = f"UPDATE orders SET ({_COLUMNS}) = ({_PARAMETERS}) WHERE id = $1"  # noqa: S608 - names of fields

FIND = "SELECT * FROM orders WHERE id = $1"

FIND_FOR_UPDATE = f"{FIND} FOR UPDATE"

INSERT_FORMER_ADDRESS = """
    INSERT INTO former_address (order_id, until_version, delivery_address)
    VALUES ($1, $2, $3)
"""

# The oldest address that was replaced after version $2 is the address at that version.
FORMER_ADDRESS = """
    SELECT delivery_address
    FROM former_address
    WHERE order_id = $1 AND until_version > $2
    ORDER BY until_version
    LIMIT 1
"""


async def insert(connection: Connection, order: Order) -> Order:
    """Insert a new order under its id, or the next free one. Return the order with the id that was used."""
    while await connection.fetchval(INSERT, *_row(order)) is None:
        order = order.with_id(next_id(order.id))
    return order


async def update(connection: Connection, order: Order) -> None:
    """Update an order that was read with `find_for_update` in the same transaction."""
    await connection.execute(UPDATE, *_row(order))


async def find(connection: Connection, order_id: str) -> Order:
    """Return the order. Raises UnknownOrder."""
    return await _find(connection, FIND, order_id)


async def find_for_update(connection: Connection, order_id: str) -> Order:
    """Return the order, locked until the transaction ends. Raises UnknownOrder."""
    return await _find(connection, FIND_FOR_UPDATE, order_id)


async def insert_former_address(connection: Connection, order: Order, *, until_version: int) -> None:
    """Record that the address of `order` is replaced in `until_version`, the order's next version. Requires
    the order's row lock."""
    await connection.execute(INSERT_FORMER_ADDRESS, order.id, until_version, order.delivery_address)


async def find_address(connection: Connection, order: Order, version: int) -> DeliveryAddress:
    """Return the delivery address that the order had at `version`. Requires the order's row lock."""
    former = await connection.fetchval(FORMER_ADDRESS, order.id, version)
    return order.delivery_address if former is None else DeliveryAddress.model_validate(former)


def to_order(row: Record) -> Order:
    """Return the order of a row with all columns of the table."""
    return Order.model_validate(dict(row), by_name=True)


async def _find(connection: Connection, statement: str, order_id: str) -> Order:
    if not is_id(order_id):
        raise UnknownOrder("there is no order with this id: an order id has 20 digits")
    row = await connection.fetchrow(statement, order_id)
    if row is None:
        raise UnknownOrder(f"there is no order {order_id}")
    return to_order(row)


def _row(order: Order) -> list[object]:
    return [getattr(order, name) for name in _FIELDS]
