"""Store of purchase orders, one row each with their lines as JSON, and of delivery notes."""

from collections.abc import Mapping, Sequence

import asyncpg
from snsqs.postgres import Connection

from services.scm.purchase._purchase_order import PurchaseOrder, PurchaseOrderStatus, UnknownPurchaseOrder

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

# One per supplier. An article without a supplier is bought on the open market.
INSERT = """
    INSERT INTO purchase_order (order_id, supplier, lines)
    SELECT $1, coalesce(supplier, 'open-market'),
           jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity, 'received', 0) ORDER BY sku)
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity) LEFT JOIN supply USING (sku)
    GROUP BY coalesce(supplier, 'open-market')
    RETURNING id, supplier
"""

BOUGHT_FOR = "SELECT DISTINCT order_id FROM purchase_order WHERE order_id = ANY ($1)"

ORDERED = """
    SELECT sku, sum(received)::bigint AS received
    FROM purchase_order, jsonb_to_recordset(lines) AS line (sku text, received bigint)
    WHERE sku > $1
    GROUP BY sku
    ORDER BY sku
    LIMIT $2
"""

UPDATE = """
    UPDATE purchase_order
    SET status = $2, lines = $3, confirmed_at = $4, received_at = $5
    WHERE id = $1
"""

FIND_RECEIPT = "SELECT lines FROM receipt WHERE purchase_order_id = $1 AND delivery_note = $2"

INSERT_RECEIPT = "INSERT INTO receipt (purchase_order_id, delivery_note, lines) VALUES ($1, $2, $3)"


async def insert(
    connection: Connection, order_id: str, skus: Sequence[str], quantities: Sequence[int]
) -> list[tuple[int, str]]:
    """Insert a purchase order for each supplier of these articles. Return their ids and suppliers."""
    return [tuple(row) for row in await connection.fetch(INSERT, order_id, skus, quantities)]


async def find(connection: Connection, purchase_order_id: int) -> PurchaseOrder:
    """Return the purchase order. Raises UnknownPurchaseOrder."""
    return await _find(connection, FIND, purchase_order_id)


async def find_for_update(connection: Connection, purchase_order_id: int) -> PurchaseOrder:
    """Return the purchase order, locked until the transaction ends. Raises UnknownPurchaseOrder."""
    return await _find(connection, FIND_FOR_UPDATE, purchase_order_id)


async def page(
    connection: Connection, after: int, supplier: str | None, status: PurchaseOrderStatus | None, limit: int
) -> list[PurchaseOrder]:
    """Return up to `limit` purchase orders with ids greater than `after`, by id; None matches any supplier or
    status."""
    return [_to_purchase_order(row) for row in await connection.fetch(PAGE, after, supplier, status, limit)]


async def purchase_orders_of_order(connection: Connection, order_id: str) -> list[PurchaseOrder]:
    """Return the purchase orders raised for an order: one per supplier, by id."""
    return [_to_purchase_order(row) for row in await connection.fetch(OF_ORDER, order_id)]


async def bought_for(connection: Connection, order_ids: Sequence[str]) -> set[str]:
    """Return the ids of those orders for which purchase orders were raised."""
    return {row["order_id"] for row in await connection.fetch(BOUGHT_FOR, order_ids)}


async def received_quantities(connection: Connection, after: str, limit: int) -> list[tuple[str, int]]:
    """Return up to `limit` SKUs greater than `after` with the pieces received on all purchase orders."""
    return [(row["sku"], row["received"]) for row in await connection.fetch(ORDERED, after, limit)]


async def update(connection: Connection, purchase_order: PurchaseOrder) -> None:
    """Update a purchase order that was read with `find_for_update` in the same transaction."""
    await connection.execute(
        UPDATE,
        purchase_order.id,
        purchase_order.status,
        [line.model_dump() for line in purchase_order.lines],
        purchase_order.confirmed_at,
        purchase_order.received_at,
    )


async def find_receipt(
    connection: Connection, purchase_order_id: int, delivery_note: str
) -> dict[str, int] | None:
    """Return the quantities by SKU recorded with the delivery note, None if there are none."""
    lines: dict[str, int] | None = await connection.fetchval(FIND_RECEIPT, purchase_order_id, delivery_note)
    return lines


async def insert_receipt(
    connection: Connection, purchase_order_id: int, delivery_note: str, quantities: Mapping[str, int]
) -> None:
    """Insert the quantities by SKU delivered with a delivery note."""
    await connection.execute(INSERT_RECEIPT, purchase_order_id, delivery_note, dict(quantities))


async def _find(connection: Connection, statement: str, purchase_order_id: int) -> PurchaseOrder:
    row = await connection.fetchrow(statement, purchase_order_id)
    if row is None:
        raise UnknownPurchaseOrder(f"there is no purchase order {purchase_order_id}")
    return _to_purchase_order(row)


def _to_purchase_order(row: asyncpg.Record) -> PurchaseOrder:
    return PurchaseOrder.model_validate(dict(row), by_name=True)
