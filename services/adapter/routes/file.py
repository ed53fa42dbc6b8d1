"""RouteFile: the route file, parsed and checked as a whole."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.adapter.routes.finding import Fault, Finding, Lines, Place, closest, did_you_mean
from services.adapter.routes.inspection import condition_faults, unreachable_rules
from services.adapter.routes.published import NOTHING, Published
from services.adapter.routes.route import NO_ROUTE, EventType, Route, Routes, Schema

_TABLES = ("published", "route")
_KEYS = tuple(Route.model_fields)

KeyFault = tuple[str, Fault]
"""Key of a rule and its fault; an empty key for the rule as a whole."""


class RoutesInvalid(Exception):
    """The route file cannot be used. The message has a line for every error: file, line, rule, reason."""


@dataclass(frozen=True)
class RouteFile:
    """Content of a route file, with its errors and warnings."""

    name: str
    errors: Sequence[Finding]
    warnings: Sequence[Finding] = ()
    routes: Routes | None = None
    """None if there are errors."""

    @classmethod
    def open(cls, path: Path) -> "RouteFile":
        """Read a file. Raises RoutesInvalid if it is not readable as text."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise RoutesInvalid(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    @classmethod
    def parse(cls, text: str, name: str) -> "RouteFile":
        """Parse and check the text of a file. Raises nothing: errors are findings."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            return cls(name, [Finding(line=int(line[1]) if line else 1, reason=f"not TOML: {error}")])
        except (ValueError, RecursionError) as error:
            reason = (
                "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
            )
            return cls(name, [Finding(line=_line_of(type(error), text), reason=reason)])
        return _Reader(document, Lines(text)).read(name)

    def usable(self) -> Routes:
        """Return the routes. Raises RoutesInvalid with every error."""
        if self.routes is None:
            raise RoutesInvalid("\n".join(f"{self.name}:{error.line}: {error}" for error in self.errors))
        return self.routes


def _line_of(error_type: type[Exception], text: str) -> int:
    """Return the line at which tomllib raises an error without a position: the last one of the shortest text
    that raises it."""
    lines = text.split("\n")

    def raises(count: int) -> bool:
        try:
            tomllib.loads("\n".join(lines[:count]))
        except (ValueError, RecursionError) as error:
            return type(error) is error_type
        return False

    return bisect_left(range(len(lines)), True, key=raises)


def read_routes(path: Path) -> Routes:
    """Return the routes of a file. Raises RoutesInvalid with every error."""
    return RouteFile.open(path).usable()


class _Reader:
    """Collects the errors of a parsed document."""

    def __init__(self, document: dict[str, Any], lines: Lines) -> None:
        self._document = document
        self._lines = lines
        self._errors: list[Finding] = []

    def read(self, name: str) -> RouteFile:
        for key in self._document.keys() - _TABLES:
            self._error((key,), Fault("there is no such table", did_you_mean(key, _TABLES)))
        schema = dict(self._schema())
        rules = dict(self._rules())
        self._check_ids()
        for number, route in rules.items():
            self._check_rule(number, route, schema)
        numbered = [(self._lines.number_of(("route", number)), route) for number, route in rules.items()]
        return RouteFile(
            name,
            sorted(self._errors, key=lambda error: error.line),
            list(unreachable_rules(numbered, schema)),
            None if self._errors else Routes(list(rules.values()), schema),
        )

    def _schema(self) -> Iterator[tuple[EventType, Published]]:
        for source in self._table("published"):
            for event_type, fields in self._table("published", source).items():
                try:
                    yield (source, event_type), Published.parse(fields)
                except ValueError as error:
                    self._error(("published", source, event_type), Fault(str(error)))

    def _table(self, *place: str) -> dict[str, Any]:
        """Return the table at a place of the document; an empty one if there is none."""
        found: Any = self._document
        for name in place:
            found = found.get(name, {})
        if isinstance(found, dict):
            return found
        self._error(place, Fault("must be a table"))
        return {}

    @property
    def _rule_tables(self) -> list[Any]:
        tables = self._document.get("route")
        return tables if isinstance(tables, list) else []

    def _rules(self) -> Iterator[tuple[int, Route]]:
        """Return the readable rules with their number in the file."""
        if not self._rule_tables:
            self._error(("route",), Fault("there is no rule; a rule is a table [[route]]"))
        for number, table in enumerate(self._rule_tables):
            route, faults = _read_rule(table)
            for key, fault in faults:
                self._error(("route", number, key), fault)
            if route:
                yield number, route

    def _check_ids(self) -> None:
        first: dict[str, int] = {}
        for number in range(len(self._rule_tables)):
            name = self._name(number)
            if name == NO_ROUTE:
                self._error(("route", number, "id"), Fault("is reserved for events that match no rule"))
            if first.setdefault(name, number) != number:
                line = self._lines.number_of(("route", first[name]))
                self._error(("route", number, "id"), Fault(f"is the id of the rule in line {line} too"))

    def _name(self, number: int) -> str:
        """Return the rule's id, or its number in the file if it has none."""
        table = self._rule_tables[number]
        name = table.get("id") if isinstance(table, dict) else None
        return name if isinstance(name, str) and name else str(number + 1)

    def _check_rule(self, number: int, route: Route, schema: Schema) -> None:
        for fault in condition_faults(route.when) if route.when else ():
            self._error(("route", number, "when"), fault)
        if not route.hold_back and not schema.get(route.event_type, NOTHING).fields:
            self._error(("route", number, "type"), _nothing_published(route, schema))

    def _error(self, place: Place, fault: Fault) -> None:
        rule: str | None = None
        match place:
            case ("route", int(number), str(key)):
                rule = self._name(number)
            case _:
                key = ".".join(map(str, place))
        line = self._lines.number_of(place)
        self._errors.append(
            Finding(line=line, rule=rule, key=key or None, reason=fault.reason, hint=fault.hint)
        )


def _nothing_published(route: Route, schema: Schema) -> Fault:
    known = [event_type for source, event_type in schema if source == route.source]
    hint = did_you_mean(route.type, known) if route.type not in known else None
    add = f'to let it leave, list its fields in [published.{route.source}]: {route.type} = ["id", …]'
    return Fault(f"nothing of {route.source} {route.type} is published, so it has no topic", hint or add)


def _read_rule(table: Any) -> tuple[Route | None, list[KeyFault]]:
    """Return the rule, without its faulty keys so that faults of the others are found too, and the faults."""
    if not isinstance(table, dict):
        return None, [("", Fault("a rule is a table [[route]]"))]
    faults = [(key, _unknown_key(key)) for key in table if key not in _KEYS]
    values = {key if key in _KEYS else closest(key, _KEYS): value for key, value in table.items()}
    values.pop(None, None)
    route, wrong = _validate(values)
    if wrong:
        route, _ = _validate({key: values[key] for key in values.keys() - dict(wrong).keys()})
    if (values.get("hold_back", False) is not False) == ("topic" in values):
        wrong.append(("", Fault("needs either a topic or hold_back = true")))
    return route, [*faults, *wrong]


def _unknown_key(key: str) -> Fault:
    if key == "project":
        remove = "remove it: the fields listed in [published.SERVICE] leave, and no others"
        return Fault("there are no projections", remove)
    return Fault("there is no such key", did_you_mean(key, _KEYS))


def _validate(values: Mapping[str | None, Any]) -> tuple[Route | None, list[KeyFault]]:
    try:
        return Route.model_validate(values), []
    except ValidationError as error:
        return None, [_fault(problem) for problem in error.errors(include_url=False, include_input=False)]


def _fault(problem: ErrorDetails) -> KeyFault:
    reason = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    return str(problem["loc"][0]), Fault(reason[0].lower() + reason[1:])
