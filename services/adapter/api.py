"""REST API of the bridge: events come in, decisions go back."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from snsqs.cloudevents import BATCH_CONTENT_TYPE, BatchResult, EventResult

from services.adapter.bridge import Bridge
from shared.web import AnyCaller, Caller, Problem, component, media_type, problems

router = APIRouter(tags=["events"])

MAX_EVENTS = 1_000


_BATCH_SCHEMA = {
    "type": "array",
    "maxItems": MAX_EVENTS,
    "items": {"description": "A CloudEvent; something else fails alone, and the batch is still accepted"},
}

BridgeDependency = Annotated[Bridge, component(Bridge)]


async def _batch(request: Request) -> list[Any]:
    """Return the events of the body unvalidated: one that is malformed must not fail the others."""
    if media_type(request) != BATCH_CONTENT_TYPE:
        raise Problem(415, f"the content type must be {BATCH_CONTENT_TYPE}")
    try:
        events = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise Problem(422, f"the body must be an array of at most {MAX_EVENTS} CloudEvents")
    return events


def _require_own_events(caller: Caller, events: list[Any]) -> None:
    """Raise Problem 403 if an event has another `source` than the service that sends it. The whole batch is
    rejected, because the setting of the service is wrong, not an event."""
    for event in events if caller.is_service else ():
        if isinstance(event, dict) and event.get("source", caller.name) != caller.name:
            raise Problem(403, f"the token is that of {caller.name}, which must be the source of every event")


@router.post(
    "/events",
    summary="Decide on a batch of events and publish those that leave",
    responses=problems(403, 415),
    openapi_extra={
        "requestBody": {"required": True, "content": {BATCH_CONTENT_TYPE: {"schema": _BATCH_SCHEMA}}}
    },
)
async def take(
    caller: AnyCaller, events: Annotated[list[Any], Depends(_batch)], bridge: BridgeDependency
) -> BatchResult:
    """Answers 200 once every event has a result, in the order of the batch. Events fail one by one.

    A service sends its own events only, an operator also those of a service's log once more.
    """
    _require_own_events(caller, events)
    decisions = await bridge.take(events)
    return BatchResult(results=[EventResult.model_validate(each, from_attributes=True) for each in decisions])
