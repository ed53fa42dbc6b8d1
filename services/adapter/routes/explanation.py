"""Explanation: why an event leaves or stays, and what goes out of it."""

from collections.abc import Iterator
from typing import Any

from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.route import Route, RouteFailed, Routes
from services.adapter.routes.verdict import Judged, Verdict, judge


class Considered(WireModel):
    """What a rule had to do with the event."""

    rule: str
    matched: bool
    reason: str


class Outgoing(WireModel):
    """The message as SNS would be given it."""

    headers: dict[str, str]
    body: dict[str, Any]


class Explanation(Verdict):
    """What the rules make of one event, and why."""

    considered: list[Considered]
    """Every rule, in the order of the file."""
    outgoing: Outgoing | None
    dropped: list[str]
    """The fields of the aggregate that stay here while the event leaves: `source.buyer.name`."""


def explain(routes: Routes, event: CloudEvent) -> Explanation:
    """It publishes nothing."""
    judged = judge(routes, event)
    return Explanation(
        **judged.verdict.model_dump(),
        considered=list(_considered(routes, event)),
        outgoing=_outgoing(judged),
        dropped=_dropped(event, judged),
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


def _outgoing(judged: Judged) -> Outgoing | None:
    if judged.message is None or judged.data is None:
        return None
    return Outgoing(headers=dict(judged.message.headers), body=judged.data)


def _dropped(event: CloudEvent, judged: Judged) -> list[str]:
    if judged.data is None:
        return []
    leaving = dict(fields(judged.data["source"], "source"))
    kept = dict(fields(event.data["source"], "source"))
    return [path for path in kept if path not in leaving]
