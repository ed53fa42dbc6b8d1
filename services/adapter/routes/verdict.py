"""Verdict: what the routes decide about an event. The bridge acts on it; others only say it."""

from dataclasses import dataclass
from typing import Any, Literal

from snsqs import Message, WireModel, size_error

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.route import RouteFailed, Routes

Outcome = Literal["forwarded", "held_back", "failed"]


class Verdict(WireModel):
    """The rule is the one that decided, or that failed."""

    decision: Outcome
    rule: str | None
    topic: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Judged:
    """A verdict, and what goes out by it."""

    verdict: Verdict
    data: dict[str, Any] | None = None
    message: Message[str] | None = None


def judge(routes: Routes, event: CloudEvent) -> Judged:
    """It publishes nothing; that SNS is away is no part of it."""
    try:
        decided = routes.decide(event)
    except RouteFailed as error:
        return Judged(Verdict(decision="failed", rule=error.rule, error=str(error)))
    if decided.topic is None or decided.data is None:
        return Judged(Verdict(decision="held_back", rule=decided.rule))
    message = event.message(decided.data)
    if too_large := size_error(message):
        return Judged(Verdict(decision="failed", rule=decided.rule, error=str(too_large)))
    verdict = Verdict(decision="forwarded", rule=decided.rule, topic=decided.topic)
    return Judged(verdict, decided.data, message)
