"""External API: what carriers read."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from shared.domain_event import WireModel
from shared.web import DatabaseDependency

router = APIRouter(prefix="/external-api/invoices", tags=["external API"])

OF_ORDER = """
    SELECT id, order_id, delivery_address, issued_at
    FROM invoice
    WHERE order_id = $1
    ORDER BY issued_at
"""


class Invoice(WireModel):
    """A delivery invoice: which order's goods go where."""

    id: UUID
    order_id: str
    delivery_address: dict[str, Any]
    issued_at: datetime


@router.get("", summary="The invoices of an order")
async def of_order(
    db: DatabaseDependency, order_id: Annotated[str, Query(alias="orderId", pattern=r"^[0-9]{20}$")]
) -> list[Invoice]:
    async with db.connection() as connection:
        return [Invoice(**dict(row)) for row in await connection.fetch(OF_ORDER, order_id)]
