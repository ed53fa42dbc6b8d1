"""REST API of the live view. It needs no token, like all reads: it contains no data of buyers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request

from services.console.watch.event_stream import EVENTS, EventStream
from services.console.watch.lineage import Lineage, Lineages, UnknownOrder
from services.console.watch.live import Live, TooManyViewers
from services.console.watch.stations import Stations, SystemSnapshot
from shared.web import OPTIONAL_TOKEN, OptionalOperator, Problem, component, problems

router = APIRouter(prefix="/api", tags=["console"])


LiveDependency = Annotated[Live, component(Live)]
StationsDependency = Annotated[Stations, component(Stations)]
LineagesDependency = Annotated[Lineages, component(Lineages)]


@router.get(
    "/live",
    status_code=200,  # FastAPI documents the default of a response class, and this one has none
    response_class=EventStream,
    responses={200: EVENTS, **problems(503)},
    summary="Live events (server-sent events)",
)
async def live(
    request: Request, live: LiveDependency, last_event_id: Annotated[str | None, Header()] = None
) -> EventStream:
    """Events: `decision`, `settled`, `station`, `service`, `gap`, `missed`. A client that reconnects
    with `Last-Event-ID` gets what it missed; events that are no longer in memory are reported as a `gap`."""
    client = request.client.host if request.client else ""
    return EventStream(partial(_stream, live, last_event_id, client), send_timeout=live.options.send_timeout)


@contextmanager
def _stream(live: Live, last_event_id: str | None, client: str) -> Iterator[AsyncIterator[bytes]]:
    try:
        with live.stream(last_event_id, client) as chunks:
            yield chunks
    except TooManyViewers as error:
        raise Problem(503, str(error), headers={"retry-after": "10"}) from error


@router.get("/stations", summary="All stations: backlog, age and rate")
async def stations(stations: StationsDependency) -> SystemSnapshot:
    """A service that does not answer is `down`, with the reason."""
    return await stations.now()


@router.get(
    "/orders/{order_id}/lineage",
    responses=problems(404),
    openapi_extra=OPTIONAL_TOKEN,
    summary="Lineage of an order's events, hop by hop",
)
async def read_lineage(
    order_id: Annotated[str, Path(pattern=r"^[0-9]{20}$", description="20 digits")],
    operator: OptionalOperator,
    lineages: LineagesDependency,
    dead_letters: Annotated[bool, Query(alias="deadLetters", description="false: leave them out")] = True,
) -> Lineage:
    """From the commands to SCM's last answer, with the milliseconds of each hop. A service that does not
    answer is a gap. For an operator, it includes the order's dead letters with their reasons; to find them
    takes seconds for each dead-letter queue that is not empty."""
    try:
        return await lineages.read(order_id, with_dead_letters=dead_letters and operator is not None)
    except UnknownOrder as error:
        raise Problem(404, str(error)) from error
