"""The event log over REST, for operators and for the adapter; and what operators do about parked events."""

import uuid
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from snsqs import WireModel
from snsqs.outbox import EventLog, ParkedEvent, parked_events, resubmit

from shared.operations.event_search import EventPage, Search, State, count, search
from shared.operations.selection import Filter, Selection, criteria
from shared.web import AnyAccess, DatabaseDependency, Moment, Operator, component

log = structlog.get_logger(__name__)

MAX_RESUBMITTED = 1_000

router = APIRouter(tags=["event log"])

_Text = Annotated[str | None, Query(pattern=r"^[\x21-\x7e]{1,256}$")]


def _asked_for(
    type: _Text = None,
    order_id: Annotated[_Text, Query(alias="orderId")] = None,
    decision: State | None = None,
    since: Annotated[Moment | None, Query(alias="from")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="exclusive")] = None,
    ids: Annotated[list[uuid.UUID] | None, Query(max_length=100)] = None,
) -> Search:
    return Search(type, order_id, decision, since, until, ids)


AskedFor = Annotated[Search, Depends(_asked_for)]
EventLogDependency = Annotated[EventLog, component(EventLog)]


@router.get(
    "/event-log",
    dependencies=[AnyAccess],
    summary="The published events and what became of them, newest first or oldest first",
)
async def event_log(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    asked: AskedFor,
    oldest_first: Annotated[bool, Query(alias="oldestFirst")] = False,
    after: Annotated[
        int | None, Query(ge=1, lt=2**63, description="the last position of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EventPage:
    """Each with its data as it was published, which holds buyers' names and phone numbers."""
    async with db.connection() as connection:
        page = await search(connection, asked, after=after, limit=limit, oldest_first=oldest_first)
    if page.next is not None:
        response.headers["link"] = f'<{request.url.include_query_params(after=page.next)}>; rel="next"'
    return page


class EventCount(WireModel):
    events: int


@router.get("/event-log/count", dependencies=[AnyAccess], summary="How many events there are on all pages")
async def event_count(db: DatabaseDependency, asked: AskedFor) -> EventCount:
    async with db.connection() as connection:
        return EventCount(events=await count(connection, asked))


class Parked(Filter):
    """Which parked events are to be shown."""

    limit: int = Field(100, ge=1, le=MAX_RESUBMITTED)


class Resubmitted(WireModel):
    """The ids of the events that wait again."""

    ids: list[uuid.UUID]


@router.get(
    "/parked",
    dependencies=[AnyAccess],
    summary="Events that failed too often to be tried again by themselves",
)
async def read_parked(db: DatabaseDependency, wanted: Annotated[Parked, Query()]) -> list[ParkedEvent]:
    """Those first that have been parked for the longest."""
    async with db.connection() as connection:
        return await parked_events(connection, wanted.limit, **criteria(wanted))


@router.post("/parked/resubmit", summary="Let parked events wait to be relayed again")
async def resubmit_parked(
    selection: Selection, operator: Operator, db: DatabaseDependency, event_log: EventLogDependency
) -> Resubmitted:
    """With all their attempts before them. A thousand at most; those first that were parked first."""
    async with db.transaction() as tx:
        events = await parked_events(tx.connection, MAX_RESUBMITTED, **criteria(selection))
        ids = await resubmit(tx.connection, [event.id for event in events])
        event_log.wake_relay_after_commit(tx)
    log.warning("parked events resubmitted", count=len(ids), by=operator)
    return Resubmitted(ids=ids)
