"""External API: what carriers read and report."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.scm.delivery import _carriage as carriage
from services.scm.delivery import _store as store
from services.scm.delivery._invoice import DeliveryError, Invoice, UnknownInvoice
from services.scm.names import OrderId
from shared.web import DatabaseDependency, ErrorStatuses, OperatorAccess, problems

router = APIRouter(prefix="/external-api/invoices", tags=["external API"])

STATUSES: ErrorStatuses = {DeliveryError: 409, UnknownInvoice: 404}


@router.get("", summary="The invoices of an order")
async def of_order(
    db: DatabaseDependency, order_id: Annotated[OrderId, Query(alias="orderId")]
) -> list[Invoice]:
    async with db.connection() as connection:
        return await store.of_order(connection, order_id)


@router.post(
    "/{invoice_id}/dispatched",
    responses=problems(404, 409),
    dependencies=[OperatorAccess],
    summary="The carrier has the goods; may be repeated",
)
async def dispatched(invoice_id: UUID, db: DatabaseDependency) -> Invoice:
    async with db.transaction() as tx:
        return await carriage.dispatch(invoice_id, tx)


@router.post(
    "/{invoice_id}/delivered",
    responses=problems(404, 409),
    dependencies=[OperatorAccess],
    summary="The buyer has the goods; may be repeated",
)
async def delivered(invoice_id: UUID, db: DatabaseDependency) -> Invoice:
    async with db.transaction() as tx:
        return await carriage.deliver(invoice_id, tx)
