"""Client of the adapter: what replay sends events through."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from snsqs import WireModel
from snsqs.cloudevents import BATCH_CONTENT_TYPE, BatchResult, CloudEvent, EventResult

from shared.runtime.service_client import ServiceClient, ServiceUnavailable

M = TypeVar("M", bound=WireModel)

_BATCH = {"content-type": BATCH_CONTENT_TYPE}


class _Route(WireModel):
    source: str
    topic: str | None = None


class _Routes(WireModel):
    routes: list[_Route]


class AdapterClient:
    """All methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, adapter: ServiceClient) -> None:
        self._adapter = adapter

    async def topics_of(self, source: str) -> set[str]:
        """Return the names of the topics to which the routes forward events of a service."""
        answer = await self._adapter.get("/api/routes")
        routes = _validated(self._adapter, _Routes, answer).routes
        return {each.topic.rpartition(":")[2] for each in routes if each.topic and each.source == source}

    async def send(
        self, events: Sequence[CloudEvent], operator_headers: Mapping[str, str]
    ) -> list[EventResult]:
        """Send the events as the relay does. Return the decisions in the order of the events."""
        adapter = self._adapter.with_headers({**operator_headers, **_BATCH})
        return self._in_order(events, await adapter.send("POST", "/events", _as_json(events)))

    async def evaluate(
        self, events: Sequence[CloudEvent], operator_headers: Mapping[str, str]
    ) -> list[EventResult]:
        """Return the decisions that the present routes would make; nothing is published."""
        adapter = self._adapter.with_headers(operator_headers)
        answer = await adapter.send("POST", "/api/routes/evaluate", _as_json(events))
        return self._in_order(events, answer)

    def _in_order(self, events: Sequence[CloudEvent], answer: Any) -> list[EventResult]:
        results = {each.id: each for each in _validated(self._adapter, BatchResult, answer).results}
        try:
            return [results[event.id] for event in events]
        except KeyError as error:
            raise ServiceUnavailable(f"{self._adapter}: no result for event {error}") from error


def _as_json(events: Sequence[CloudEvent]) -> list[dict[str, Any]]:
    return [event.model_dump(mode="json", exclude_none=True) for event in events]


def _validated(adapter: ServiceClient, model: type[M], answer: Any) -> M:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise ServiceUnavailable(f"{adapter}: unexpected response body") from error
