"""Back office API: units ordered per article and day."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.scm.demand import _store as store
from services.scm.demand._store import DailyDemand
from services.scm.fields import Name, NameCursor
from shared.web import PAGED, DatabaseDependency, Day, Limit, link_next

router = APIRouter(prefix="/back-office/demand", tags=["back office"])


@router.get("", responses=PAGED, summary="List units ordered per article and day")
async def demand(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    first: Annotated[Day, Query(alias="from")] = date(1970, 1, 1),
    last: Annotated[Day, Query(alias="to", description="inclusive")] = date(9999, 12, 31),
    sku: Name | None = None,
    after: Annotated[NameCursor, Query(description="the last sku of the page before, on its last day")] = "",
    limit: Limit = 100,
) -> list[DailyDemand]:
    """Days are UTC. An order counts on the day of its payment, even if goods are short or it is cancelled."""
    async with db.connection() as connection:
        page = await store.daily_demand(connection, (first, after), last, sku, limit)
    if len(page) == limit:
        link_next(request, response, **{"from": page[-1].day, "after": page[-1].sku})
    return page
