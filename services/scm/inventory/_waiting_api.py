"""Back office API: waiting orders."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from snsqs import WireModel

from services.scm.fields import OrderId
from services.scm.inventory import _waiting as waiting
from services.scm.inventory._stock import StockFreed
from shared.web import PAGED, DatabaseDependency, Limit, OperatorAccess, Problem, link_next, problems

router = APIRouter(prefix="/back-office/waiting-orders", tags=["back office"])

PAGE = """
    SELECT position, order_id, since, attempts, last_error, parked_at,
           (SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku)
            FROM waiting_line WHERE waiting_line.order_id = waiting_order.order_id) AS lines
    FROM waiting_order
    WHERE position > $1
    ORDER BY position
    LIMIT $2
"""


class WaitingLine(WireModel):
    """Pieces of one article."""

    sku: str
    quantity: int


class WaitingOrder(WireModel):
    """Order that waits for goods. `lastError` is the error of the last attempt to serve it; with `parkedAt`
    it has no claim and is not retried until an operator requests it."""

    position: int
    order_id: str
    since: datetime
    lines: list[WaitingLine]
    attempts: int
    last_error: str | None
    parked_at: datetime | None


@router.get("", responses=PAGED, summary="List the waiting orders, oldest first")
async def waiting_orders(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the last position of the page before")] = 0,
    limit: Limit = 100,
) -> list[WaitingOrder]:
    async with db.connection() as connection:
        rows = await connection.fetch(PAGE, after, limit)
    page = [WaitingOrder.model_validate(dict(row), by_name=True) for row in rows]
    if len(page) == limit:
        link_next(request, response, after=page[-1].position)
    return page


@router.post(
    "/{order_id}/retry",
    status_code=204,
    dependencies=[OperatorAccess],
    responses=problems(404),
    summary="Retry a waiting order at once, parked or not",
)
async def retry(order_id: OrderId, db: DatabaseDependency) -> None:
    """The order keeps its position in the queue."""
    async with db.transaction() as tx:
        if not await waiting.reset(tx.connection, order_id):
            raise Problem(404, f"order {order_id} does not wait for goods")
        await tx.publish(StockFreed())
