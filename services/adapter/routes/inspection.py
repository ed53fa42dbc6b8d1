"""Inspection: faults of rules that can be found before there is an event."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto

from services.adapter.routes.expression import FUNCTIONS, Expression, Node
from services.adapter.routes.finding import Fault, Finding, did_you_mean
from services.adapter.routes.route import Route, Schema

_EVENT_FIELDS = ("source", "occurenceOn")


class _Value(Enum):
    """Value of a subexpression, as far as it is known without an event."""

    EVENT = auto()
    OCCURRED_ON = auto()
    UNKNOWN = auto()


def condition_faults(when: Expression) -> list[Fault]:
    """Return fields that no event has, and calls of functions that JMESPath does not have or not with so many
    arguments. A condition may read all of the aggregate, whose fields the adapter does not know."""
    faults: list[Fault] = []
    _inspect(when.tree, _Value.EVENT, faults)
    return faults


def unreachable_rules(rules: Sequence[tuple[int, Route]], schema: Schema) -> Iterator[Finding]:
    """Return a warning for each rule that never decides: a rule above decides first, or no service publishes
    its events. (With a topic, the latter is an error.) The rules come with their line in the file."""
    for number, (line, route) in enumerate(rules):
        above = next((rule for rule in rules[:number] if _covers(rule[1], route)), None)
        if above:
            why = "has the same condition" if above[1].when else "decides about every such event"
            reason = f"never reached: rule {above[1].id} in line {above[0]} {why}"
            yield Finding(line=line, rule=route.id, reason=reason)
        if route.hold_back and route.event_type not in schema:
            yield _not_published(line, route, schema)


def _inspect(node: Node, value: _Value, faults: list[Fault]) -> _Value:
    """Collect the faults of a node that is evaluated on the value, and return its own value."""
    children = node["children"]
    match node["type"]:
        case "field":
            return _inspect_field(node["value"], value, faults)
        case "subexpression" | "pipe" | "index_expression":
            for child in children:
                value = _inspect(child, value, faults)
            return value
        case "identity" | "current":
            return value
        case "projection" | "value_projection" | "filter_projection":
            _inspect(children[0], value, faults)
            for child in children[1:]:
                _inspect(child, _Value.UNKNOWN, faults)
            return _Value.UNKNOWN
        case "literal" | "slice" | "index":  # their children are not nodes
            return _Value.UNKNOWN
        case "expref":  # evaluated on the items of another argument
            value = _Value.UNKNOWN
        case "function_expression":
            faults.extend(_function_faults(node["value"], len(children)))
    for child in children:
        _inspect(child, value, faults)
    return _Value.UNKNOWN


def _inspect_field(name: str, value: _Value, faults: list[Fault]) -> _Value:
    if value is _Value.OCCURRED_ON:
        faults.append(Fault(f"occurenceOn is a plain value and has no {name}"))
    if value is not _Value.EVENT or name == "source":
        return _Value.UNKNOWN
    if name == "occurenceOn":
        return _Value.OCCURRED_ON
    hint = did_you_mean(name, _EVENT_FIELDS) or f"it has {' and '.join(_EVENT_FIELDS)}"
    faults.append(Fault(f"the event has no {name}", hint))
    return _Value.UNKNOWN


def _function_faults(name: str, arguments: int) -> Iterator[Fault]:
    if name not in FUNCTIONS:
        yield Fault(f"JMESPath has no function {name}()", did_you_mean(name, FUNCTIONS))
    elif arguments not in FUNCTIONS[name]:
        yield Fault(f"{name}() cannot take {arguments} arguments")


def _covers(above: Route, route: Route) -> bool:
    """Return whether the rule above matches every event that the other one matches."""
    if above.event_type != route.event_type:
        return False
    return above.when is None or (route.when is not None and above.when.tree == route.when.tree)


def _not_published(line: int, route: Route, schema: Schema) -> Finding:
    sources = {source for source, _ in schema}
    types = {event_type for source, event_type in schema if source == route.source}
    hint = did_you_mean(route.type, types) if types else did_you_mean(route.source, sources)
    published = f"[published.{route.source}]"
    reason = f"no service publishes {route.source} {route.type}: it is not in {published}"
    return Finding(line=line, rule=route.id, reason=reason, hint=hint)
