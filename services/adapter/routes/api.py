"""REST API of the routes. Publishes and changes nothing."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import Field
from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.dry_run import DryRun, dry_run
from services.adapter.routes.explanation import Evaluation, Explanation, explain
from services.adapter.routes.file import RouteFile
from services.adapter.routes.finding import Finding
from services.adapter.routes.recorded import EventLogs
from services.adapter.routes.route import Route
from shared.runtime.service_client import ServiceUnavailable
from shared.web import OperatorAccess, Problem, component, problems

router = APIRouter(prefix="/api/routes", tags=["routes"])

MAX_CHARACTERS = 32 * 1024
MAX_EVENTS = 1_000


class RoutesRead(WireModel):
    """Rules in the order of the file, and the published schema: service → type → fields."""

    file: str
    routes: Sequence[Route]
    published: dict[str, dict[str, Sequence[str]]]
    warnings: Sequence[Finding]


class EvaluatedEvent(Evaluation):
    """Decision of the routes on one of several events."""

    id: str


class Evaluations(WireModel):
    """One result per event, in the order of the events."""

    results: list[EvaluatedEvent]


class DryRunBody(WireModel):
    """Request body of a dry run."""

    toml: Annotated[str, Field(max_length=MAX_CHARACTERS)]
    """Text of a whole route file."""
    last: Annotated[int, Field(strict=True, ge=1, le=MAX_EVENTS)] = 100
    """Number of events: the newest of all services."""


File = Annotated[RouteFile, component(RouteFile)]


@router.get("", summary="The rules that decide which events leave")
async def read(file: File) -> RoutesRead:
    routes = file.usable()
    published: dict[str, dict[str, Sequence[str]]] = {}
    for (source, event_type), of_type in routes.schema.items():
        published.setdefault(source, {})[event_type] = of_type.fields
    return RoutesRead(file=file.name, routes=routes.routes, published=published, warnings=file.warnings)


@router.post(
    "/evaluate",
    response_model=Evaluations,
    dependencies=[OperatorAccess],
    summary="Decide on events without publishing them",
)
async def evaluate(events: Annotated[list[Any], Body(max_length=MAX_EVENTS)], file: File) -> Response:
    """Takes CloudEvents as the relay sends them; one that is malformed fails alone."""
    # In a thread, so that a thousand events delay none on its way.
    evaluations = await asyncio.to_thread(_evaluate, file, events)
    return _ascii(evaluations)


def _evaluate(file: RouteFile, events: Sequence[object]) -> Evaluations:
    routes = file.usable()
    return Evaluations(results=[EvaluatedEvent.model_validate(routes.evaluate(event)) for event in events])


@router.post(
    "/explain",
    response_model=Explanation,
    summary="The reasons why an event leaves or stays, and its message",
)
async def explain_event(event: CloudEvent, file: File) -> Response:
    """Takes a CloudEvent as the relay sends it."""
    explanation = await asyncio.to_thread(explain, file.usable(), event)
    return _ascii(explanation)


@router.post(
    "/dry-run",
    response_model=DryRun,
    dependencies=[OperatorAccess],
    responses=problems(503),
    summary="The effect of a changed route file on recorded events",
)
async def try_file(
    body: DryRunBody, file: File, event_logs: Annotated[EventLogs, component(EventLogs)]
) -> Response:
    """For operators only, because the adapter evaluates expressions of the caller."""
    changed = await asyncio.to_thread(RouteFile.parse, body.toml, "toml")
    if changed.routes is None:
        return _ascii(DryRun(errors=changed.errors, warnings=changed.warnings))
    try:
        events = await event_logs.newest(body.last)
    except ServiceUnavailable as error:
        raise Problem(503, str(error), headers={"retry-after": "2"}) from error
    # In a thread, so that a slow expression delays no event on its way.
    result = await asyncio.to_thread(dry_run, file.usable(), changed.routes, events)
    return _ascii(result.model_copy(update={"warnings": changed.warnings}))


def _ascii(answer: WireModel) -> Response:
    """Return the answer as ASCII: an event or a name may contain half a surrogate pair, which UTF-8 cannot
    encode."""
    return Response(json.dumps(answer.model_dump(mode="json")), media_type="application/json")
