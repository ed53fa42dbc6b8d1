"""Back office: who supplies what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from snsqs import WireModel

from services.scm.names import LastName, Name
from shared.web import DatabaseDependency, Limit, OperatorAccess, link_next
from shared.web.request import RequestModel

router = APIRouter(prefix="/back-office/supplies", tags=["back office"])

SET = """
    INSERT INTO supply (sku, supplier)
    VALUES ($1, $2)
    ON CONFLICT (sku) DO UPDATE SET supplier = excluded.supplier
"""

PAGE = "SELECT sku, supplier FROM supply WHERE sku > $1 ORDER BY sku LIMIT $2"


class Supplier(RequestModel):
    supplier: Name


class Supply(WireModel):
    """An article, and who is asked for it when it is short."""

    sku: str
    supplier: str


@router.put("/{sku}", dependencies=[OperatorAccess], summary="Say who supplies an article")
async def supply(sku: Name, body: Supplier, db: DatabaseDependency) -> Supply:
    """Holds for what is short from now on; a purchase order that was raised stays with its supplier."""
    async with db.transaction() as tx:
        await tx.connection.execute(SET, sku, body.supplier)
    return Supply(sku=sku, supplier=body.supplier)


@router.get("", summary="Who supplies what; what is not here is bought on the open market")
async def supplies(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    after: Annotated[LastName, Query(description="the last sku of the page before")] = "",
    limit: Limit = 100,
) -> list[Supply]:
    async with db.connection() as connection:
        page = [Supply(**dict(row)) for row in await connection.fetch(PAGE, after, limit)]
    if len(page) == limit:
        link_next(request, response, after=page[-1].sku)
    return page
