"""Explanation: the reasons why an event leaves or stays, and the message that leaves."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict
from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.route import Decision, Outcome, Route, RouteFailed, Routes


class Evaluation(WireModel):
    """Decision of the routes on an event that is not published."""

    model_config = ConfigDict(from_attributes=True)

    decision: Outcome
    rule: str | None
    """Rule that decided or failed."""
    topic: str | None
    error: str | None


class Considered(WireModel):
    """Result of a rule on the event."""

    rule: str
    matched: bool
    reason: str


class OutgoingMessage(WireModel):
    """Message as it is published to SNS."""

    headers: dict[str, str]
    body: dict[str, Any]


class Explanation(Evaluation):
    """Decision on one event, with its reasons."""

    considered: list[Considered]
    """Every rule, in the order of the file."""
    outgoing: OutgoingMessage | None
    dropped: list[str]
    """Fields of the aggregate that stay here while the event leaves: `source.buyer.name`."""


def explain(routes: Routes, event: CloudEvent) -> Explanation:
    """Return the decision and its reasons. Publishes nothing."""
    decision = routes.evaluate(event)
    outgoing = outgoing_message(decision)
    return Explanation(
        **dict(Evaluation.model_validate(decision)),
        considered=list(_considered(routes, event)),
        outgoing=outgoing,
        dropped=_dropped(event, outgoing),
    )


def outgoing_message(decision: Decision) -> OutgoingMessage | None:
    """Return the message that leaves, if one does."""
    if decision.outgoing is None:
        return None
    message = decision.outgoing.message
    return OutgoingMessage(headers=dict(message.headers), body=json.loads(message.payload))


def field_paths(aggregate: Any) -> list[str]:
    """Return the path of every plain value of an aggregate, as a published schema writes it."""
    paths, rest = dict[str, None](), [("source", aggregate)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict) and value:
            rest.extend((f"{path}.{name}", value[name]) for name in reversed(value))
        elif isinstance(value, list) and value:
            rest.extend((f"{path}[]", item) for item in reversed(value))
        else:
            paths[path] = None
    return list(paths)


def _considered(routes: Routes, event: CloudEvent) -> Iterator[Considered]:
    ended = ""
    for route in routes.routes:
        matched = False
        if route.event_type != (event.source, event.type):
            reason = f"is for {route.source} {route.type}"
        elif ended:
            reason = f"not evaluated: {ended}"
        else:
            matched, reason, ended = _evaluated(route, event)
        yield Considered(rule=route.id, matched=matched, reason=reason)


def _evaluated(route: Route, event: CloudEvent) -> tuple[bool, str, str]:
    """Return whether the rule matched, the reason, and the reason not to evaluate the rules below."""
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


def _dropped(event: CloudEvent, outgoing: OutgoingMessage | None) -> list[str]:
    if outgoing is None:
        return []
    leaving = set(field_paths(outgoing.body["source"]))
    return [path for path in field_paths(event.data["source"]) if path not in leaving]
