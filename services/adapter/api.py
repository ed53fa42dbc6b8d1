"""The REST API of the Adapter service."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from snsqs import WireModel

from services.adapter.bridge import Bridge, Result
from shared.web import Problem, ServiceAccess, problems

router = APIRouter(tags=["events"])

BATCH = "application/cloudevents-batch+json"
EVENTS_MOST = 1_000


class Answer(WireModel):
    """One result per event, in the order of the batch."""

    results: list[Result]


async def bridge(request: Request) -> Bridge:
    found: Bridge = request.app.state.bridge
    return found


async def batch(request: Request) -> list[Any]:
    """The events of the body, not yet looked at: one that is malformed must not fail its neighbours."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != BATCH:
        raise Problem(415, f"the content type must be {BATCH}")
    try:
        events = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    if not isinstance(events, list) or len(events) > EVENTS_MOST:
        raise Problem(422, f"the body must be an array of at most {EVENTS_MOST} CloudEvents")
    return events


@router.post(
    "/events",
    dependencies=[ServiceAccess],
    summary="Decide about a batch of events and publish those that leave",
    responses=problems(415),
    openapi_extra={"requestBody": {"required": True, "content": {BATCH: {"schema": {"type": "array"}}}}},
)
async def take(
    events: Annotated[list[Any], Depends(batch)], bridge: Annotated[Bridge, Depends(bridge)]
) -> Answer:
    """Answers 200 when every event has a result. What failed is told event by event."""
    return Answer(results=await bridge.take(events))
