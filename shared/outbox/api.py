"""The event log over REST, for operators and for the adapter."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from shared.outbox.search import EventPage, Search, State, search
from shared.web import AnyAccess, DatabaseDependency, Moment

router = APIRouter(tags=["event log"])

_Text = Annotated[str | None, Query(pattern=r"^[\x21-\x7e]{1,256}$")]


@router.get(
    "/event-log",
    dependencies=[AnyAccess],
    summary="The published events and what became of them, newest first",
)
async def event_log(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    type: _Text = None,
    order_id: Annotated[_Text, Query(alias="orderId")] = None,
    decision: State | None = None,
    since: Annotated[Moment | None, Query(alias="from")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="exclusive")] = None,
    after: Annotated[
        int | None, Query(ge=1, lt=2**63, description="the last position of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EventPage:
    """Each with its data as it was published, which holds buyers' names and phone numbers."""
    asked = Search(type, order_id, decision, since, until)
    async with db.connection() as connection:
        page = await search(connection, asked, after=after, limit=limit)
    if page.next is not None:
        response.headers["link"] = f'<{request.url.include_query_params(after=page.next)}>; rel="next"'
    return page
