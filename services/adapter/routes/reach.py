"""Reach: rules of the file that no event will ever come to."""

from collections.abc import Iterator, Sequence

from services.adapter.routes.finding import Finding, did_you_mean
from services.adapter.routes.route import Route, Schema

Placed = tuple[int, Route]
"""A rule, and its line in the file."""


def out_of_reach(rules: Sequence[Placed], schema: Schema) -> Iterator[Finding]:
    """A warning for each rule for which a rule above decides always, or whose events nobody publishes. (With
    a topic, that is an error.)"""
    for number, (line, route) in enumerate(rules):
        above = next((rule for rule in rules[:number] if _takes_all_of(rule[1], route)), None)
        if above:
            why = "has the same condition" if above[1].when else "decides about every such event"
            reason = f"never reached: rule {above[1].id} in line {above[0]} {why}"
            yield Finding(line=line, rule=route.id, reason=reason)
        if route.hold_back and route.event_type not in schema:
            yield _of_nobody(line, route, schema)


def _takes_all_of(above: Route, route: Route) -> bool:
    if above.event_type != route.event_type:
        return False
    return above.when is None or (route.when is not None and above.when.tree == route.when.tree)


def _of_nobody(line: int, route: Route, schema: Schema) -> Finding:
    sources = {source for source, _ in schema}
    types = {event_type for source, event_type in schema if source == route.source}
    hint = did_you_mean(route.type, types) if types else did_you_mean(route.source, sources)
    reason = f"nobody publishes {route.source} {route.type}: it is not in [published.{route.source}]"
    return Finding(line=line, rule=route.id, reason=reason, hint=hint)
