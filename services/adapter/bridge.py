"""Bridge: takes a batch of events, decides about each, and publishes those that leave."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from prometheus_client import Counter
from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from snsqs import Message, MessageChannel, MessagingError, WireModel

from services.adapter.cloud_event import CloudEvent, why_not
from services.adapter.routes import Routes
from services.adapter.routes.verdict import Outcome, judge

log = structlog.get_logger(__name__)

_ERROR_CHARACTERS = 500

_DECIDED = Counter("adapter_events", "Events by what became of them.", ["decision", "rule"])


class Result(WireModel):
    """What became of one event of a batch. `failed` means: not sent, and `error` says why."""

    id: str
    decision: Outcome
    rule: str | None = None
    decided_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    message_id: str | None = None
    """SNS's id of a forwarded event."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, as it is told to those who look on."""

    event_id: str
    type: str
    order_id: str
    source: str
    decision: str
    rule: str | None
    topic: str | None
    message_id: str | None
    error: str | None
    at: datetime

    __pydantic_config__ = ConfigDict(alias_generator=to_camel)


Observer = Callable[[Decided], None]
"""Is told of every decision at once: it must be quick, and must not raise."""


@dataclass(frozen=True)
class _Leaving:
    """An event that was decided to leave, and where its result belongs."""

    place: int
    result: Result
    message: Message[str]


class Bridge:
    """From CloudEvents to SNS. It keeps nothing: what it cannot finish it answers as failed, and the
    relay, which has the event log, sends that again."""

    def __init__(
        self, routes: Routes, channels: Mapping[str, MessageChannel], observer: Observer | None = None
    ) -> None:
        self._routes = routes
        self._channels = channels
        self._observer = observer

    async def take(self, events: Sequence[Any]) -> list[Result]:
        """Decides about each event on its own, and returns when SNS has taken those that leave. The
        results are in the order of the events."""
        results: list[Result | None] = [None] * len(events)
        leaving: dict[str, list[_Leaving]] = defaultdict(list)
        for place, event in enumerate(events):
            results[place] = self._decide(place, event, leaving)
        async with asyncio.TaskGroup() as group:
            for topic, of_topic in leaving.items():
                group.create_task(self._publish(topic, of_topic, results))
        topics = {each.place: topic for topic, of_topic in leaving.items() for each in of_topic}
        return [
            self._told(result, event, topics.get(place))
            for place, (result, event) in enumerate(zip(results, events, strict=True))
            if result
        ]

    def _decide(self, place: int, given: Any, leaving: dict[str, list[_Leaving]]) -> Result | None:
        """The event's result, or None when that has to wait for SNS."""
        try:
            event = CloudEvent.model_validate(given)
        except ValidationError as error:
            return Result(id=_text(given, "id"), decision="failed", error=why_not(error))
        judged = judge(self._routes, event)
        verdict = judged.verdict
        result = Result(id=event.id, decision=verdict.decision, rule=verdict.rule, error=verdict.error)
        if verdict.topic is None or judged.message is None:
            return result
        leaving[verdict.topic].append(_Leaving(place, result, judged.message))
        return None

    async def _publish(self, topic: str, leaving: Sequence[_Leaving], results: list[Result | None]) -> None:
        outcomes = await self._channels[topic].send([event.message for event in leaving])
        for event, outcome in zip(leaving, outcomes, strict=True):
            failed = isinstance(outcome, MessagingError)
            update = {"decision": "failed", "error": str(outcome)} if failed else {"message_id": outcome}
            results[event.place] = event.result.model_copy(update=update)

    def _told(self, result: Result, given: Any, topic: str | None) -> Result:
        _DECIDED.labels(result.decision, result.rule).inc()
        about = {"event_id": result.id, "rule": result.rule, "message_id": result.message_id}
        about |= {"event_type": _text(given, "type"), "order_id": _text(given, "subject")}
        if result.decision == "failed":
            log.warning("failed", error=result.error, **about)
        else:
            log.info(result.decision.replace("_", " "), **about)
        if self._observer is not None:
            self._observer(_decided(result, given, topic))
        return result


def _decided(result: Result, given: Any, topic: str | None) -> Decided:
    return Decided(
        result.id,
        _text(given, "type"),
        _text(given, "subject"),
        _text(given, "source"),
        result.decision,
        result.rule,
        topic,
        result.message_id,
        result.error and result.error[:_ERROR_CHARACTERS],
        result.decided_at,
    )


def _text(given: Any, key: str) -> str:
    """A member of what may not be an event at all, fit to be logged and answered."""
    value = given.get(key, "") if isinstance(given, dict) else ""
    return str(value)[:256].encode("ascii", "replace").decode()
