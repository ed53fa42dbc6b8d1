"""Where purchase orders are kept: one row each, whose lines are JSON; and the delivery notes."""

from collections.abc import Mapping

import asyncpg
from snsqs.postgres import Connection

from services.scm.purchase._purchase_order import PurchaseOrder, Status, UnknownPurchaseOrder

SELECT = """
    SELECT id, order_id, supplier, status, lines, raised_at, confirmed_at, received_at
    FROM purchase_order
"""

FIND = f"{SELECT} WHERE id = $1"

FIND_FOR_UPDATE = f"{FIND} FOR UPDATE"

OF_ORDER = f"{SELECT} WHERE order_id = $1 ORDER BY id"

PAGE = f"""
    {SELECT}
    WHERE id > $1 AND ($2::text IS NULL OR supplier = $2) AND ($3::text IS NULL OR status = $3)
    ORDER BY id
    LIMIT $4
"""

UPDATE = """
    UPDATE purchase_order
    SET status = $2, lines = $3, confirmed_at = $4, received_at = $5
    WHERE id = $1
"""

RECEIVED_UNDER = "SELECT lines FROM receipt WHERE purchase_order_id = $1 AND delivery_note = $2"

RECEIVE = "INSERT INTO receipt (purchase_order_id, delivery_note, lines) VALUES ($1, $2, $3)"


async def find(connection: Connection, purchase_order_id: int) -> PurchaseOrder:
    """Raises UnknownPurchaseOrder."""
    return await _find(connection, FIND, purchase_order_id)


async def find_for_update(connection: Connection, purchase_order_id: int) -> PurchaseOrder:
    """The purchase order, locked until the transaction ends. Raises UnknownPurchaseOrder."""
    return await _find(connection, FIND_FOR_UPDATE, purchase_order_id)


async def page(
    connection: Connection, after: int, supplier: str | None, status: Status | None, limit: int
) -> list[PurchaseOrder]:
    """Those after an id, oldest first; None asks for those of every supplier, in every status."""
    return [_read(row) for row in await connection.fetch(PAGE, after, supplier, status, limit)]


async def of_order(connection: Connection, order_id: str) -> list[PurchaseOrder]:
    """What was bought because the order was short of it: one for each supplier."""
    return [_read(row) for row in await connection.fetch(OF_ORDER, order_id)]


async def update(connection: Connection, purchase_order: PurchaseOrder) -> None:
    """Stores a changed one, which was found with `find_for_update` in the same transaction."""
    await connection.execute(
        UPDATE,
        purchase_order.id,
        purchase_order.status,
        [line.model_dump() for line in purchase_order.lines],
        purchase_order.confirmed_at,
        purchase_order.received_at,
    )


async def received_under(
    connection: Connection, purchase_order_id: int, delivery_note: str
) -> dict[str, int] | None:
    """What came under this delivery note, by article; None when nothing did yet."""
    lines: dict[str, int] | None = await connection.fetchval(RECEIVED_UNDER, purchase_order_id, delivery_note)
    return lines


async def receive(
    connection: Connection, purchase_order_id: int, delivery_note: str, quantities: Mapping[str, int]
) -> None:
    await connection.execute(RECEIVE, purchase_order_id, delivery_note, dict(quantities))


async def _find(connection: Connection, statement: str, purchase_order_id: int) -> PurchaseOrder:
    row = await connection.fetchrow(statement, purchase_order_id)
    if row is None:
        raise UnknownPurchaseOrder(f"there is no purchase order {purchase_order_id}")
    return _read(row)


def _read(row: asyncpg.Record) -> PurchaseOrder:
    return PurchaseOrder.model_validate(dict(row), by_name=True)
