"""The REST API of the console. It is open, as all reads are: no data of a buyer is in it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request

from services.console.watch.dead_letters import DeadLetters
from services.console.watch.event_stream import EVENTS, EventStream
from services.console.watch.lineage import Lineage, UnknownOrder, lineage
from services.console.watch.live import Live, TooManyViewers
from services.console.watch.stations import Everything, Stations
from shared.runtime.service_client import ServiceClient
from shared.web import OPTIONAL_TOKEN, OptionalOperator, Problem, problems

router = APIRouter(prefix="/api", tags=["console"])


def _live(request: Request) -> Live:
    found: Live = request.app.state.live
    return found


def _stations(request: Request) -> Stations:
    found: Stations = request.app.state.stations
    return found


@router.get(
    "/live",
    status_code=200,  # FastAPI documents the default of a response class, and this one has none
    response_class=EventStream,
    responses={200: EVENTS, **problems(503)},
    summary="What happens, as it happens (server-sent events)",
)
async def live(
    live: Annotated[Live, Depends(_live)], last_event_id: Annotated[str | None, Header()] = None
) -> EventStream:
    """Events: `decision`, `settled`, `station`, `service`, `gap`, `missed`. A viewer that comes back with
    `Last-Event-ID` is given what it missed; what is no longer remembered is told as a `gap`."""
    return EventStream(partial(_viewing, live, last_event_id), patience=live.options.patience)


@contextmanager
def _viewing(live: Live, last_event_id: str | None) -> Iterator[AsyncIterator[bytes]]:
    try:
        with live.viewing(last_event_id) as chunks:
            yield chunks
    except TooManyViewers as error:
        raise Problem(503, str(error), headers={"retry-after": "10"}) from error


@router.get("/stations", summary="Every station: how much waits, for how long, how fast it goes")
async def stations(stations: Annotated[Stations, Depends(_stations)]) -> Everything:
    """A service that is down is shown as down, with the reason."""
    return await stations.now()


@router.get(
    "/orders/{order_id}/lineage",
    responses=problems(404),
    openapi_extra=OPTIONAL_TOKEN,
    summary="The way of an order's events, hop by hop",
)
async def read_lineage(
    request: Request,
    order_id: Annotated[str, Path(pattern=r"^[0-9]{20}$", description="20 digits")],
    operator: OptionalOperator,
) -> Lineage:
    """From the commands to the last answer of SCM, with the milliseconds of each hop. A service that does
    not answer is a gap. To an operator it also shows the order's dead letters, with their reasons."""
    neighbours: dict[str, ServiceClient] = request.app.state.neighbours
    dead_letters: DeadLetters | None = request.app.state.dead_letters if operator else None
    try:
        return await lineage(order_id, neighbours["order"], neighbours["scm"], dead_letters)
    except UnknownOrder as error:
        raise Problem(404, str(error)) from error
