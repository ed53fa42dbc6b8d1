"""REST API of the event log, and of its parked events."""

import uuid
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from snsqs import WireModel
from snsqs.inbox import ReceivedMessage, received
from snsqs.outbox import EventLog, LoggedEvent, ParkedEvent, history, parked_events, resubmit

from shared.operations.event_search import EventPage, Search, State, count, release, search
from shared.operations.selection import (
    ExplicitSelection,
    Filter,
    Name,
    Selection,
    allow_duplicates,
    criteria,
)
from shared.web import (
    PAGED,
    AnyAccess,
    ClampedTimestamp,
    DatabaseDependency,
    Operator,
    RequestModel,
    component,
    link_next,
)

log = structlog.get_logger(__name__)

MAX_RESUBMITTED = 1_000

MAX_RELEASED = 1_000

Ids = Annotated[frozenset[uuid.UUID], Field(min_length=1, max_length=100, json_schema_extra=allow_duplicates)]

router = APIRouter(tags=["event log"])

_Text = Annotated[str | None, Query(pattern=r"^[\x21-\x7e]{1,256}$")]


def _search(
    type: _Text = None,
    order_id: Annotated[_Text, Query(alias="orderId")] = None,
    decision: State | None = None,
    since: Annotated[ClampedTimestamp | None, Query(alias="from")] = None,
    until: Annotated[ClampedTimestamp | None, Query(alias="to", description="Exclusive.")] = None,
    ids: Annotated[list[uuid.UUID] | None, Query(max_length=100)] = None,
    up_to: Annotated[int | None, Query(alias="upTo", ge=0, lt=2**63, description="Last position.")] = None,
    rule: _Text = None,
) -> Search:
    return Search(type, order_id, decision, since, until, ids, up_to, rule)


SearchDependency = Annotated[Search, Depends(_search)]
EventLogDependency = Annotated[EventLog, component(EventLog)]


@router.get(
    "/event-log",
    dependencies=[AnyAccess],
    responses=PAGED,
    summary="List published events and their decisions",
)
async def event_log(
    request: Request,
    response: Response,
    db: DatabaseDependency,
    query: SearchDependency,
    oldest_first: Annotated[bool, Query(alias="oldestFirst")] = False,
    after: Annotated[
        int | None, Query(ge=1, lt=2**63, description="Last position of the previous page.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EventPage:
    """Newest first unless `oldestFirst` is set. Event data contains buyers' names and phone numbers."""
    async with db.connection() as connection:
        page = await search(connection, query, after=after, limit=limit, oldest_first=oldest_first)
    if page.next is not None:
        link_next(request, response, after=page.next)
    return page


class SubjectEvents(WireModel):
    """Events that a service published about an aggregate, and messages that it received about it."""

    published: list[LoggedEvent]
    received: list[ReceivedMessage]


@router.get("/subjects/{subject}/events", summary="List the events of an aggregate")
async def subject_events(
    subject: Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,128}$")], db: DatabaseDependency
) -> SubjectEvents:
    """Published events with the adapter's decisions, and received messages with their outcomes, without
    their data. Empty lists for an unknown aggregate."""
    async with db.snapshot() as connection:
        return SubjectEvents(
            published=await history(connection, subject), received=await received(connection, subject)
        )


class EventCount(WireModel):
    events: int


@router.get("/event-log/count", dependencies=[AnyAccess], summary="Count events")
async def event_count(db: DatabaseDependency, query: SearchDependency) -> EventCount:
    async with db.connection() as connection:
        return EventCount(events=await count(connection, query))


class EventSelection(ExplicitSelection):
    """Selection of events of the log; all given criteria must match."""

    ids: Ids | None = None
    type: Name | None = None
    order_id: Name | None = None
    since: Annotated[ClampedTimestamp | None, Field(alias="from")] = None
    until: Annotated[ClampedTimestamp | None, Field(alias="to")] = None
    """Exclusive."""


class ReleaseHeldBack(RequestModel):
    """Request to decide again on events that were held back by a rule."""

    rule: Name
    selection: EventSelection


class Released(WireModel):
    """Ids of the released events."""

    ids: list[uuid.UUID]


@router.post("/event-log/release", summary="Decide again on events that were held back")
async def release_held_back(
    command: ReleaseHeldBack, operator: Operator, db: DatabaseDependency, event_log: EventLogDependency
) -> Released:
    """They are relayed again, and the present routes decide. At most 1000, those published first."""
    chosen = command.selection
    ids = None if chosen.ids is None else list(chosen.ids)
    query = Search(chosen.type, chosen.order_id, None, chosen.since, chosen.until, ids, rule=command.rule)
    async with db.transaction() as tx:
        released = await release(tx.connection, query, MAX_RELEASED)
        event_log.wake_relay_after_commit(tx)
    log.warning("events released", count=len(released), rule=command.rule, by=operator)
    return Released(ids=released)


class ParkedFilter(Filter):
    """Criteria for parked events."""

    limit: int = Field(100, ge=1, le=MAX_RESUBMITTED)


class Resubmitted(WireModel):
    """Ids of the resubmitted events."""

    ids: list[uuid.UUID]


@router.get(
    "/parked",
    dependencies=[AnyAccess],
    summary="List parked events",
)
async def read_parked(
    db: DatabaseDependency, parked_filter: Annotated[ParkedFilter, Query()]
) -> list[ParkedEvent]:
    """Events whose delivery failed too often to be retried automatically, longest parked first."""
    async with db.connection() as connection:
        return await parked_events(connection, parked_filter.limit, **criteria(parked_filter))


@router.post("/parked/resubmit", summary="Resubmit parked events")
async def resubmit_parked(
    selection: Selection, operator: Operator, db: DatabaseDependency, event_log: EventLogDependency
) -> Resubmitted:
    """The events are relayed again with a new count of attempts. At most 1000, longest parked first."""
    async with db.transaction() as tx:
        events = await parked_events(tx.connection, MAX_RESUBMITTED, **criteria(selection))
        ids = await resubmit(tx.connection, [event.id for event in events])
        event_log.wake_relay_after_commit(tx)
    log.warning("parked events resubmitted", count=len(ids), by=operator)
    return Resubmitted(ids=ids)
