"""Reading a rule: a table of the file becomes a Route, or says all that keeps it from being one."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.adapter.routes.finding import Fault, did_you_mean, meant
from services.adapter.routes.route import Route

AtKey = tuple[str, Fault]
"""A fault, and the key of the rule that has it; no key where it is the rule as a whole."""

_KEYS = list(Route.model_fields)


def read_rule(table: Any) -> tuple[Route | None, list[AtKey]]:
    """The rule, as far as it can be read: its other faults are then found at the same time."""
    if not isinstance(table, dict):
        return None, [("", Fault("a rule is a table [[route]]"))]
    mistyped = [key for key in table if key not in _KEYS]
    faults = [(key, Fault("there is no such key", did_you_mean(key, _KEYS))) for key in mistyped]
    given = {(key if key in _KEYS else meant(key, _KEYS)): value for key, value in table.items()}
    given.pop(None, None)
    route, wrong = _validated(given)
    if wrong:
        route, _ = _validated({key: given[key] for key in given.keys() - dict(wrong).keys()})
    return route, [*faults, *wrong, *_contradictions(given)]


def _validated(given: dict[str | None, Any]) -> tuple[Route | None, list[AtKey]]:
    try:
        return Route.model_validate(given), []
    except ValidationError as error:
        return None, [_fault(problem) for problem in error.errors(include_url=False, include_input=False)]


def _fault(problem: ErrorDetails) -> AtKey:
    reason = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    return str(problem["loc"][0]), Fault(reason[0].lower() + reason[1:])


def _contradictions(given: Mapping[str | None, Any]) -> Iterator[AtKey]:
    holds_back = given.get("hold_back", False) is not False
    if holds_back == ("topic" in given):
        yield "", Fault("needs either a topic or hold_back = true")
    elif holds_back and "project" in given:
        yield "project", Fault("a rule that holds back has nothing to project")
