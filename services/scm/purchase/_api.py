"""Partner office API for suppliers: read and confirm purchase orders, report deliveries."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field, StringConstraints

from services.scm.fields import Name, Pieces
from services.scm.purchase import _purchasing as purchasing
from services.scm.purchase import _store as store
from services.scm.purchase._purchase_order import (
    PurchaseError,
    PurchaseOrder,
    PurchaseOrderStatus,
    UnknownPurchaseOrder,
)
from shared.web import (
    PAGED,
    DatabaseDependency,
    ErrorStatuses,
    Limit,
    RequestModel,
    link_next,
    partner_access,
    problems,
)

router = APIRouter(prefix="/partner-office/purchase-orders", tags=["partner office"])

_COMMAND, _READ = partner_access("supplier")
SupplierCommand = Annotated[str | None, _COMMAND]
SupplierRead = Annotated[str | None, _READ]

STATUSES: ErrorStatuses = {PurchaseError: 409, UnknownPurchaseOrder: 404}


PurchaseOrderId = Annotated[int, Path(ge=1, lt=2**63)]


class ReceivedLine(RequestModel):
    sku: Name
    quantity: Pieces


class Receipt(RequestModel):
    """Goods of one delivery note. An article may be on several lines."""

    delivery_note: Annotated[
        str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")
    ]
    lines: Annotated[list[ReceivedLine], Field(min_length=1, max_length=1000)]

    def quantities(self) -> dict[str, int]:
        """Return the pieces by SKU."""
        quantities: dict[str, int] = {}
        for line in self.lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
        return quantities


@router.get("", responses=PAGED, summary="List purchase orders, oldest first")
async def purchase_orders(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    caller: SupplierRead,
    supplier: Name | None = None,
    status: PurchaseOrderStatus | None = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the last id of the page before")] = 0,
    limit: Limit = 100,
) -> list[PurchaseOrder]:
    """To poll for new ones, list all with status RAISED: ids do not become visible in their order. A supplier
    sees its own."""
    async with db.connection() as connection:
        page = await store.page(connection, after, caller or supplier, status, limit)
    if len(page) == limit:
        link_next(request, response, after=page[-1].id)
    return page


@router.get("/{purchase_order_id}", responses=problems(404), summary="Read a purchase order")
async def read(
    purchase_order_id: PurchaseOrderId, db: DatabaseDependency, caller: SupplierRead
) -> PurchaseOrder:
    async with db.connection() as connection:
        return _own(caller, await store.find(connection, purchase_order_id))


@router.post(
    "/{purchase_order_id}/confirm",
    responses=problems(404),
    summary="Confirm that the supplier will deliver; idempotent",
)
async def confirm(
    purchase_order_id: PurchaseOrderId, db: DatabaseDependency, caller: SupplierCommand
) -> PurchaseOrder:
    async with db.transaction() as tx:
        return _own(caller, await purchasing.confirm(purchase_order_id, tx))


@router.post(
    "/{purchase_order_id}/receive",
    responses=problems(404, 409),
    summary="Report delivered goods; idempotent per delivery note",
)
async def receive(
    purchase_order_id: PurchaseOrderId, body: Receipt, db: DatabaseDependency, caller: SupplierCommand
) -> PurchaseOrder:
    async with db.transaction() as tx:
        _own(caller, await store.find(tx.connection, purchase_order_id))
        return await purchasing.receive(purchase_order_id, body.delivery_note, body.quantities(), tx)


def _own(supplier: str | None, purchase_order: PurchaseOrder) -> PurchaseOrder:
    """Return the purchase order, to a supplier only its own. Raises UnknownPurchaseOrder."""
    if supplier is not None and purchase_order.supplier != supplier:
        raise UnknownPurchaseOrder(f"{supplier} has no purchase order {purchase_order.id}")
    return purchase_order
