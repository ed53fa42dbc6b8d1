"""Store of delivery invoices."""

from collections.abc import Sequence
from uuid import UUID

from snsqs.postgres import Connection

from services.scm.delivery._invoice import Invoice, UnknownInvoice

# A unique index allows an order one invoice that is not void.
INSERT = """
    INSERT INTO invoice (
        id, order_id, delivery_address, issued_at, voided_at, dispatched_at, delivered_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

UPDATE = """
    UPDATE invoice
    SET voided_at = $2, dispatched_at = $3, delivered_at = $4
    WHERE id = $1
"""

INVOICES = """
    SELECT id, order_id, delivery_address, issued_at, voided_at, dispatched_at, delivered_at
    FROM invoice
"""

FIND = f"{INVOICES} WHERE id = $1"

LIVE = f"{INVOICES} WHERE order_id = $1 AND voided_at IS NULL"

LIVE_OF_ORDERS = f"{INVOICES} WHERE order_id = ANY ($1) AND voided_at IS NULL"

OF_ORDER = f"{INVOICES} WHERE order_id = $1 ORDER BY issued_at DESC LIMIT 1000"


async def insert(connection: Connection, invoice: Invoice) -> None:
    """Insert a new invoice. The order must have no other that is not void."""
    await connection.execute(
        INSERT,
        invoice.id,
        invoice.order_id,
        invoice.delivery_address,
        invoice.issued_at,
        invoice.voided_at,
        invoice.dispatched_at,
        invoice.delivered_at,
    )


async def update(connection: Connection, invoice: Invoice) -> None:
    """Update the invoice's timestamps. Requires the order lock."""
    await connection.execute(
        UPDATE, invoice.id, invoice.voided_at, invoice.dispatched_at, invoice.delivered_at
    )


async def find(connection: Connection, invoice_id: UUID) -> Invoice:
    """Return the invoice. Raises UnknownInvoice."""
    row = await connection.fetchrow(FIND, invoice_id)
    if row is None:
        raise UnknownInvoice(f"there is no invoice {invoice_id}")
    return Invoice(**dict(row))


async def find_live(connection: Connection, order_id: str) -> Invoice | None:
    """Return the order's invoice that is not void, None if there is none."""
    row = await connection.fetchrow(LIVE, order_id)
    return None if row is None else Invoice(**dict(row))


async def live_invoices_of_orders(connection: Connection, order_ids: Sequence[str]) -> list[Invoice]:
    """Return the invoices of these orders that are not void."""
    return [Invoice(**dict(row)) for row in await connection.fetch(LIVE_OF_ORDERS, order_ids)]


async def invoices_of_order(connection: Connection, order_id: str) -> list[Invoice]:
    """Return the order's invoices, oldest first; of more than 1,000 the newest."""
    return [Invoice(**dict(row)) for row in reversed(await connection.fetch(OF_ORDER, order_id))]
