"""The routes over REST. Nothing here publishes or changes anything."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import Field
from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.dry_run import DryRun, dry_run
from services.adapter.routes.explanation import Explanation, explain
from services.adapter.routes.file import RouteFile
from services.adapter.routes.finding import Finding
from services.adapter.routes.recorded import newest
from services.adapter.routes.route import Route
from services.adapter.routes.verdict import Verdict, judge
from shared.runtime.service_client import ServiceClient, ServiceUnavailable
from shared.web import OperatorAccess, Problem

router = APIRouter(prefix="/api/routes", tags=["routes"])

TEXT_MOST = 32 * 1024
EVENTS_MOST = 1_000


class RoutesRead(WireModel):
    """The rules, in the order of the file, and the published schema: service → type → fields."""

    file: str
    routes: Sequence[Route]
    published: dict[str, dict[str, Sequence[str]]]
    warnings: Sequence[Finding]


class DryRunBody(WireModel):
    toml: Annotated[str, Field(max_length=TEXT_MOST)]
    """A whole route file."""
    last: Annotated[int, Field(strict=True, ge=1, le=EVENTS_MOST)] = 100
    """So many events, the newest of all services."""


def _file(request: Request) -> RouteFile:
    found: RouteFile = request.app.state.route_file
    return found


def _neighbours(request: Request) -> Sequence[ServiceClient]:
    found: Mapping[str, ServiceClient] = request.app.state.neighbours
    return list(found.values())


File = Annotated[RouteFile, Depends(_file)]


@router.get("", summary="The rules that decide which events leave")
async def read(file: File) -> RoutesRead:
    routes = file.usable()
    published: dict[str, dict[str, Sequence[str]]] = {}
    for (source, event_type), of_type in routes.schema.items():
        published.setdefault(source, {})[event_type] = of_type.fields
    return RoutesRead(file=file.name, routes=routes.routes, published=published, warnings=file.warnings)


@router.post(
    "/explain", response_model=Explanation, summary="Why an event leaves or stays, and what goes out"
)
async def explain_event(event: CloudEvent, file: File) -> Response:
    """Takes a CloudEvent as the relay sends it."""
    return _ascii(explain(file.usable(), event))


class Evaluation(Verdict):
    """The decision about one event, which was not published."""

    id: str


class Evaluations(WireModel):
    """In the order of the events."""

    results: list[Evaluation]


@router.post("/evaluate", dependencies=[OperatorAccess], summary="What the routes decide about events")
async def evaluate(
    events: Annotated[list[CloudEvent], Body(max_length=EVENTS_MOST)], file: File
) -> Evaluations:
    """Publishes nothing."""
    routes = file.usable()
    verdicts = [judge(routes, event).verdict for event in events]
    return Evaluations(
        results=[
            Evaluation(id=event.id, **verdict.model_dump())
            for event, verdict in zip(events, verdicts, strict=True)
        ]
    )


@router.post(
    "/dry-run",
    response_model=DryRun,
    dependencies=[OperatorAccess],
    responses={503: {"description": "The event log of a service cannot be read"}},
    summary="What a changed route file would do to the last real events",
)
async def try_file(
    body: DryRunBody, file: File, neighbours: Annotated[Sequence[ServiceClient], Depends(_neighbours)]
) -> Response:
    """For operators, because it makes the adapter work with expressions of the caller's."""
    changed = await asyncio.to_thread(RouteFile.read, body.toml, "toml")
    if changed.routes is None:
        return _ascii(DryRun(errors=changed.errors, warnings=changed.warnings))
    try:
        events = await newest(neighbours, body.last)
    except ServiceUnavailable as error:
        raise Problem(503, str(error), headers={"retry-after": "2"}) from error
    # In a thread, so that what is slow in the file delays no event.
    tried = await asyncio.to_thread(dry_run, file.usable(), changed.routes, events)
    return _ascii(tried.model_copy(update={"warnings": changed.warnings}))


def _ascii(answer: WireModel) -> Response:
    """An event, or a name in an expression, may have half a surrogate in it, which UTF-8 cannot express."""
    return Response(json.dumps(answer.model_dump(mode="json")), media_type="application/json")
