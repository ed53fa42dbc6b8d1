"""Client of the adapter: what replay sends events through."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from snsqs import WireModel
from snsqs.cloudevents import BATCH_CONTENT_TYPE, BatchResult, EventResult

from shared.runtime.service_client import ServiceClient, ServiceUnavailable

M = TypeVar("M", bound=WireModel)

CloudEvent = dict[str, Any]
"""JSON of a `snsqs.cloudevents.CloudEvent`."""

Decision = EventResult
"""The adapter's decision on one event."""

_BATCH = {"content-type": BATCH_CONTENT_TYPE}


class _Route(WireModel):
    source: str
    topic: str | None = None


class _Routes(WireModel):
    routes: list[_Route]


class AdapterClient:
    """All methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, adapter: ServiceClient, service_headers: Mapping[str, str]) -> None:
        self._adapter = adapter
        self._service_headers = service_headers

    async def topics_of(self, source: str) -> set[str]:
        """Return the names of the topics to which the routes forward events of a service."""
        answer = await self._adapter.get("/api/routes")
        routes = _validated(self._adapter, _Routes, answer).routes
        return {each.topic.rpartition(":")[2] for each in routes if each.topic and each.source == source}

    async def send(self, events: Sequence[CloudEvent]) -> list[Decision]:
        """Hand the events over as the relay does. The decisions are in the order of the events."""
        adapter = self._adapter.with_headers({**self._service_headers, **_BATCH})
        answer = await adapter.send("POST", "/events", events)
        return _validated(self._adapter, BatchResult, answer).results

    async def evaluate(
        self, events: Sequence[CloudEvent], operator_headers: Mapping[str, str]
    ) -> list[Decision]:
        """Return the decisions that the present routes would make; nothing is published."""
        adapter = self._adapter.with_headers(operator_headers)
        answer = await adapter.send("POST", "/api/routes/evaluate", events)
        return _validated(self._adapter, BatchResult, answer).results


def _validated(adapter: ServiceClient, model: type[M], answer: Any) -> M:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise ServiceUnavailable(f"{adapter}: unexpected response body") from error
