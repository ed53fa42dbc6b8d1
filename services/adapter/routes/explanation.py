"""Explanation: why an event leaves or stays, and what goes out of it."""

from collections.abc import Iterator
from typing import Any, Literal

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.route import Decision, Route, RouteFailed, Routes
from shared.domain_event import WireModel

Outcome = Literal["forwarded", "held_back", "failed"]


class Considered(WireModel):
    """What a rule had to do with the event."""

    rule: str
    matched: bool
    reason: str


class Outgoing(WireModel):
    """The message as SNS would be given it."""

    headers: dict[str, str]
    body: dict[str, Any]


class Explanation(WireModel):
    """What the rules make of one event."""

    decision: Outcome
    rule: str | None
    """The rule that decided, or that failed."""
    topic: str | None
    error: str | None
    considered: list[Considered]
    """Every rule, in the order of the file."""
    outgoing: Outgoing | None
    dropped: list[str]
    """The fields of the aggregate that stay here while the event leaves: `source.buyer.name`."""


def explain(routes: Routes, event: CloudEvent) -> Explanation:
    """It publishes nothing."""
    considered = list(_considered(routes, event))
    try:
        decision = routes.decide(event)
    except RouteFailed as error:
        return Explanation(
            decision="failed",
            rule=error.rule,
            topic=None,
            error=str(error),
            considered=considered,
            outgoing=None,
            dropped=[],
        )
    return Explanation(
        decision="held_back" if decision.topic is None else "forwarded",
        rule=decision.rule,
        topic=decision.topic,
        error=None,
        considered=considered,
        outgoing=_outgoing(event, decision),
        dropped=_dropped(event, decision),
    )


def fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every plain value in it, with the way there as a published schema writes it."""
    rest = [(path, value)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict) and value:
            rest.extend((f"{path}.{name}", value[name]) for name in reversed(value))
        elif isinstance(value, list) and value:
            rest.extend((f"{path}[]", item) for item in reversed(value))
        else:
            yield path, value


def _considered(routes: Routes, event: CloudEvent) -> Iterator[Considered]:
    settled = ""
    for route in routes.routes:
        matched = False
        if route.event_type != (event.source, event.type):
            reason = f"is for {route.source} {route.type}"
        elif settled:
            reason = f"not asked: {settled}"
        else:
            matched, reason, settled = _asked(route, event)
        yield Considered(rule=route.id, matched=matched, reason=reason)


def _asked(route: Route, event: CloudEvent) -> tuple[bool, str, str]:
    """Whether the rule matched, why, and what keeps the rules below from being asked."""
    decided = f"{route.id} decided"
    if route.when is None:
        return True, f"is for every {route.source} {route.type}", decided
    try:
        matched = route.matches(event)
    except RouteFailed as error:
        return False, f"its condition failed: {error.reason}", f"{route.id} failed"
    if matched:
        return True, f"its condition holds: {route.when}", decided
    return False, f"its condition does not hold: {route.when}", ""


def _outgoing(event: CloudEvent, decision: Decision) -> Outgoing | None:
    if decision.data is None:
        return None
    return Outgoing(headers=dict(event.message(decision.data).headers), body=decision.data)


def _dropped(event: CloudEvent, decision: Decision) -> list[str]:
    if decision.data is None:
        return []
    leaving = dict(fields(decision.data["source"], "source"))
    kept = dict(fields(event.data["source"], "source"))
    return [path for path in kept if path not in leaving]
