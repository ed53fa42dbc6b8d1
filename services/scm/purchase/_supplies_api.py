"""Back office API: suppliers of articles."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from snsqs import WireModel

from services.scm.fields import Name, NameCursor
from shared.web import PAGED, DatabaseDependency, Limit, OperatorAccess, RequestModel, link_next

router = APIRouter(prefix="/back-office/supplies", tags=["back office"])

SET = """
    INSERT INTO supply (sku, supplier)
    VALUES ($1, $2)
    ON CONFLICT (sku) DO UPDATE SET supplier = excluded.supplier
"""

PAGE = "SELECT sku, supplier FROM supply WHERE sku > $1 ORDER BY sku LIMIT $2"


class SupplierBody(RequestModel):
    supplier: Name


class Supply(WireModel):
    """Supplier of an article, which receives the purchase orders for it."""

    sku: str
    supplier: str


@router.put("/{sku}", dependencies=[OperatorAccess], summary="Set the supplier of an article")
async def supply(sku: Name, body: SupplierBody, db: DatabaseDependency) -> Supply:
    """Applies to later shortages; purchase orders that were raised stay with their supplier."""
    async with db.transaction() as tx:
        await tx.connection.execute(SET, sku, body.supplier)
    return Supply(sku=sku, supplier=body.supplier)


@router.get(
    "", responses=PAGED, summary="List the suppliers of articles; others are bought on the open market"
)
async def supplies(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    after: Annotated[NameCursor, Query(description="the last sku of the page before")] = "",
    limit: Limit = 100,
) -> list[Supply]:
    async with db.connection() as connection:
        page = [Supply(**dict(row)) for row in await connection.fetch(PAGE, after, limit)]
    if len(page) == limit:
        link_next(request, response, after=page[-1].sku)
    return page
