"""Back office API: stock and its ledger."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from snsqs import WireModel
from snsqs.postgres import Connection

from services.scm.fields import Name, NameCursor
from services.scm.inventory._stock import CountBelowReserved, Reason, lock, record_count
from shared.web import (
    IF_MATCH,
    IF_NONE_MATCH,
    PAGED,
    DatabaseDependency,
    ErrorStatuses,
    Integral,
    Limit,
    Operator,
    Problem,
    RequestModel,
    content_tag,
    link_next,
    preconditions,
    problems,
    response_headers,
    with_headers,
)

router = APIRouter(prefix="/back-office/stock", tags=["back office"])

STATUSES: ErrorStatuses = {CountBelowReserved: 409}

STOCK = """
    SELECT sku, on_hand, reserved, on_hand - reserved AS available,
           coalesce((
               SELECT sum(quantity)
               FROM waiting_line
               WHERE waiting_line.sku = stock.sku AND position IS NOT NULL
           ), 0)::bigint AS claimed
    FROM stock
"""

STOCK_OF = f"{STOCK} WHERE sku = $1"

STOCK_PAGE = f"{STOCK} WHERE sku > $1 ORDER BY sku LIMIT $2"

MOVEMENTS = """
    SELECT position, quantity, reason, reference, moved_at
    FROM stock_movement
    WHERE sku = $1 AND position > $2
    ORDER BY position
    LIMIT $3
"""


class Count(RequestModel):
    on_hand: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), Integral]


class Stock(WireModel):
    """Pieces of one article: in the warehouse (`onHand`), of these reserved for orders, the rest
    (`available`), and pieces claimed by waiting orders, which may be more than are available."""

    sku: str
    on_hand: int
    reserved: int
    available: int
    claimed: int


class Movement(WireModel):
    """Change of the pieces on hand of an article. `reference` names the operator who counted, the purchase
    order and delivery note, or the invoice."""

    position: int
    quantity: int
    reason: Reason
    reference: str | None
    moved_at: datetime


async def _find(connection: Connection, sku: str) -> Stock | None:
    row = await connection.fetchrow(STOCK_OF, sku)
    return Stock(**dict(row)) if row else None


def _entity_tag(stock: Stock) -> str:
    return content_tag(stock.model_dump_json().encode())


@router.put(
    "/{sku}",
    responses={**response_headers(200, "ETag"), **problems(400, 409, 412)},
    openapi_extra=with_headers(IF_MATCH, IF_NONE_MATCH),
    summary="Set the pieces on hand to a count",
)
async def count(
    sku: Name,
    body: Count,
    request: Request,
    response: Response,
    db: DatabaseDependency,
    operator: Operator,
) -> Stock:
    required = preconditions(request)
    async with db.transaction() as tx:
        existed = await lock(tx.connection, [sku])
        before = await _find(tx.connection, sku)
        assert before is not None
        required.require(_entity_tag(before) if existed else None)
        await record_count(sku, body.on_hand, operator, tx)
        found = await _find(tx.connection, sku)
    assert found is not None
    response.headers["etag"] = _entity_tag(found)
    return found


@router.get(
    "/{sku}",
    response_model=Stock,
    responses={
        **response_headers(200, "ETag"),
        304: {"description": "Unchanged: If-None-Match names the current ETag"},
        **problems(400, 404, 412),
    },
    openapi_extra=with_headers(IF_MATCH, IF_NONE_MATCH),
    summary="Read the stock of an article",
)
async def read(sku: Name, request: Request, response: Response, db: DatabaseDependency) -> Stock | Response:
    async with db.connection() as connection:
        found = await _find(connection, sku)
    if found is None:
        raise Problem(404, f"There is no stock of {sku}")
    response.headers["etag"] = _entity_tag(found)
    return preconditions(request).not_modified(_entity_tag(found)) or found


@router.get("", responses=PAGED, summary="List the stock by article")
async def stock(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    after: Annotated[NameCursor, Query(description="the last sku of the page before")] = "",
    limit: Limit = 100,
) -> list[Stock]:
    async with db.connection() as connection:
        page = [Stock(**dict(row)) for row in await connection.fetch(STOCK_PAGE, after, limit)]
    if len(page) == limit:
        link_next(request, response, after=page[-1].sku)
    return page


@router.get("/{sku}/movements", responses=PAGED, summary="List the movements of an article")
async def movements(
    sku: Name,
    request: Request,
    response: Response,
    db: DatabaseDependency,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the last position of the page before")] = 0,
    limit: Limit = 100,
) -> list[Movement]:
    """Oldest first. Their sum is `onHand`."""
    async with db.connection() as connection:
        page = [Movement(**dict(row)) for row in await connection.fetch(MOVEMENTS, sku, after, limit)]
    if len(page) == limit:
        link_next(request, response, after=page[-1].position)
    return page
