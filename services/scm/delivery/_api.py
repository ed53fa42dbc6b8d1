"""External API: what carriers read and report."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import JSONResponse

from services.scm.delivery import _carriage as carriage
from services.scm.delivery import _store as store
from services.scm.delivery._invoice import DeliveryError, Invoice, UnknownInvoice
from services.scm.names import OrderId
from shared.web import DatabaseDependency, OperatorAccess, Problem, problems

router = APIRouter(prefix="/external-api/invoices", tags=["external API"])


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


def answer_delivery_errors(app: FastAPI) -> None:
    """Translates what delivery refuses into answers."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        status = 404 if isinstance(error, UnknownInvoice) else 409
        return Problem(status, str(error)).response()

    app.add_exception_handler(DeliveryError, refused)
