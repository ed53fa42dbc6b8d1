"""Partner office: what suppliers read and report."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field, StringConstraints

from services.scm.names import Name, Pieces
from services.scm.purchase import _store as store
from services.scm.purchase import _supplier as supplier_says
from services.scm.purchase._purchase_order import (
    PurchaseError,
    PurchaseOrder,
    Status,
    UnknownPurchaseOrder,
)
from shared.web import DatabaseDependency, ErrorStatuses, Limit, OperatorAccess, link_next, problems
from shared.web.request import RequestModel

router = APIRouter(prefix="/partner-office/purchase-orders", tags=["partner office"])

STATUSES: ErrorStatuses = {PurchaseError: 409, UnknownPurchaseOrder: 404}


Id = Annotated[int, Path(ge=1, lt=2**63)]


class ReceivedLine(RequestModel):
    sku: Name
    quantity: Pieces


class Receipt(RequestModel):
    """What came under one delivery note. An article may be on several lines."""

    delivery_note: Annotated[
        str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")
    ]
    lines: Annotated[list[ReceivedLine], Field(min_length=1, max_length=1000)]

    def quantities(self) -> dict[str, int]:
        quantities: dict[str, int] = {}
        for line in self.lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
        return quantities


@router.get("", summary="The purchase orders, oldest first")
async def purchase_orders(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    supplier: Name | None = None,
    status: Status | None = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the last id of the page before")] = 0,
    limit: Limit = 100,
) -> list[PurchaseOrder]:
    """To hear of new ones, ask for all that are RAISED: a purchase order may be seen later than one with a
    higher id."""
    async with db.connection() as connection:
        page = await store.page(connection, after, supplier, status, limit)
    if len(page) == limit:
        link_next(request, response, after=page[-1].id)
    return page


@router.get("/{purchase_order_id}", responses=problems(404), summary="A purchase order as it is now")
async def read(purchase_order_id: Id, db: DatabaseDependency) -> PurchaseOrder:
    async with db.connection() as connection:
        return await store.find(connection, purchase_order_id)


@router.post(
    "/{purchase_order_id}/confirm",
    responses=problems(404),
    dependencies=[OperatorAccess],
    summary="The supplier will deliver; may be repeated",
)
async def confirm(purchase_order_id: Id, db: DatabaseDependency) -> PurchaseOrder:
    async with db.transaction() as tx:
        return await supplier_says.confirm(purchase_order_id, tx)


@router.post(
    "/{purchase_order_id}/receive",
    responses=problems(404, 409),
    dependencies=[OperatorAccess],
    summary="Goods have come; may be repeated with the same delivery note",
)
async def receive(purchase_order_id: Id, body: Receipt, db: DatabaseDependency) -> PurchaseOrder:
    async with db.transaction() as tx:
        return await supplier_says.receive(purchase_order_id, body.delivery_note, body.quantities(), tx)
