"""External API for carriers: read invoices, report dispatch and delivery."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.scm.delivery import _store as store
from services.scm.delivery._invoice import DeliveryError, Invoice, UnknownInvoice
from services.scm.delivery._invoicing import record_delivered, record_dispatched
from services.scm.fields import OrderId
from shared.web import DatabaseDependency, ErrorStatuses, partner_access, problems

router = APIRouter(prefix="/external-api/invoices", tags=["external API"])

CarrierAccess, CarrierRead = partner_access("carrier")

STATUSES: ErrorStatuses = {DeliveryError: 409, UnknownInvoice: 404}


@router.get("", dependencies=[CarrierRead], summary="List the invoices of an order")
async def invoices(
    db: DatabaseDependency, order_id: Annotated[OrderId, Query(alias="orderId")]
) -> list[Invoice]:
    async with db.connection() as connection:
        return await store.invoices_of_order(connection, order_id)


@router.post(
    "/{invoice_id}/dispatched",
    responses=problems(404, 409),
    dependencies=[CarrierAccess],
    summary="Report that the carrier has the goods; idempotent",
)
async def dispatched(invoice_id: UUID, db: DatabaseDependency) -> Invoice:
    async with db.transaction() as tx:
        return await record_dispatched(invoice_id, tx)


@router.post(
    "/{invoice_id}/delivered",
    responses=problems(404, 409),
    dependencies=[CarrierAccess],
    summary="Report that the buyer has the goods; idempotent",
)
async def delivered(invoice_id: UUID, db: DatabaseDependency) -> Invoice:
    async with db.transaction() as tx:
        return await record_delivered(invoice_id, tx)
