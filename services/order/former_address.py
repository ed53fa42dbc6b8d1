"""Former addresses: where an order was to go before. A parcel may have left for one of them."""

from snsqs.postgres import Connection

from services.order.order import DeliveryAddress, Order

INSERT = """
    INSERT INTO former_address (order_id, until_version, delivery_address)
    VALUES ($1, $2, $3)
"""

# Of all that were given up after that version, the first is the one that it had.
AT = """
    SELECT delivery_address
    FROM former_address
    WHERE order_id = $1 AND until_version > $2
    ORDER BY until_version
    LIMIT 1
"""


async def keep(connection: Connection, order: Order, *, until: int) -> None:
    """The order's next version, `until`, has another address. The order is locked by the caller."""
    await connection.execute(INSERT, order.id, until, order.delivery_address)


async def address_at(connection: Connection, order: Order, version: int) -> DeliveryAddress:
    """The address that the order had when it was at that version. The order is locked by the caller."""
    former = await connection.fetchval(AT, order.id, version)
    return order.delivery_address if former is None else DeliveryAddress.model_validate(former)
