"""RouteFile: the text of a route file, read and checked as a whole."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.adapter.routes.finding import Fault, Finding, did_you_mean
from services.adapter.routes.inspection import faults_of_condition, faults_of_projection, fields_read
from services.adapter.routes.lines import Lines, Place
from services.adapter.routes.published import NOTHING, Published
from services.adapter.routes.reach import out_of_reach
from services.adapter.routes.route import NO_ROUTE, EventType, Route, Routes, Schema
from services.adapter.routes.rule import read_rule

_TABLES = ("published", "route")


class RoutesInvalid(Exception):
    """The route file cannot be used. The message has a line for every error: file, line, rule, reason."""


@dataclass(frozen=True)
class RouteFile:
    """What a file says, and what is wrong with it."""

    name: str
    errors: Sequence[Finding]
    warnings: Sequence[Finding] = ()
    routes: Routes | None = None
    """None where there are errors."""

    @classmethod
    def open(cls, path: Path) -> "RouteFile":
        """Raises RoutesInvalid where there is no text."""
        try:
            return cls.read(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise RoutesInvalid(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    @classmethod
    def read(cls, text: str, name: str) -> "RouteFile":
        """Reads and checks all of it, and raises nothing."""
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            line = re.search(r"at line (\d+)", str(error))
            return cls(name, [Finding(line=int(line[1]) if line else 1, reason=f"not TOML: {error}")])
        return _Reader(document, Lines(text)).file(name)

    def usable(self) -> Routes:
        """The routes. Raises RoutesInvalid with every error."""
        if self.routes is None:
            raise RoutesInvalid("\n".join(f"{self.name}:{error.line}: {error}" for error in self.errors))
        return self.routes


def read_routes(path: Path) -> Routes:
    """Raises RoutesInvalid with every error that it found."""
    return RouteFile.open(path).usable()


class _Reader:
    """Goes through a parsed document and gathers what is wrong with it."""

    def __init__(self, document: dict[str, Any], lines: Lines) -> None:
        self._document = document
        self._lines = lines
        self._errors: list[Finding] = []

    def file(self, name: str) -> RouteFile:
        for key in self._document.keys() - _TABLES:
            self._error((key,), Fault("there is no such table", did_you_mean(key, _TABLES)))
        schema = dict(self._schema())
        rules = dict(self._rules())
        self._check_ids()
        for number, route in rules.items():
            self._check_expressions(number, route, schema)
        placed = [(self._lines.of(("route", number)), route) for number, route in rules.items()]
        return RouteFile(
            name,
            sorted(self._errors, key=lambda error: error.line),
            list(out_of_reach(placed, schema)),
            None if self._errors else Routes(list(rules.values()), schema),
        )

    def _schema(self) -> Iterator[tuple[EventType, Published]]:
        for source in self._table("published"):
            for event_type, fields in self._table("published", source).items():
                try:
                    yield (source, event_type), Published.of(fields)
                except ValueError as error:
                    self._error(("published", source, event_type), Fault(str(error)))

    def _table(self, *place: str) -> dict[str, Any]:
        """The table at a place of the document; where nothing is, an empty one."""
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
        """The rules that can be read, by their number in the file."""
        if not self._rule_tables:
            self._error(("route",), Fault("there is no rule; a rule is a table [[route]]"))
        for number, table in enumerate(self._rule_tables):
            route, faults = read_rule(table)
            for key, fault in faults:
                self._error(("route", number, key), fault)
            if route:
                yield number, route

    def _check_ids(self) -> None:
        first: dict[str, int] = {}
        for number in range(len(self._rule_tables)):
            name = self._name(number)
            if name == NO_ROUTE:
                self._error(("route", number, "id"), Fault("is taken for events that no rule names"))
            if first.setdefault(name, number) != number:
                line = self._lines.of(("route", first[name]))
                self._error(("route", number, "id"), Fault(f"is the id of the rule in line {line} too"))

    def _name(self, number: int) -> str:
        """The rule's id; its number in the file where it has none."""
        table = self._rule_tables[number]
        name = table.get("id") if isinstance(table, dict) else None
        return name if isinstance(name, str) and name else str(number + 1)

    def _check_expressions(self, number: int, route: Route, schema: Schema) -> None:
        for fault in faults_of_condition(route.when) if route.when else ():
            self._error(("route", number, "when"), fault)
        if route.hold_back:
            return
        published = schema.get(route.event_type, NOTHING)
        if not published.fields:
            self._error(("route", number, "type"), _nothing_published(route, schema))
        elif route.project:
            for fault in faults_of_projection(route.project, published, " ".join(route.event_type)):
                self._error(("route", number, "project"), fault)

    def _error(self, place: Place, fault: Fault) -> None:
        rule: str | None = None
        match place:
            case ("route", int(number), str(key)):
                rule = self._name(number)
            case _:
                key = ".".join(map(str, place))
        line = self._lines.of(place)
        self._errors.append(
            Finding(line=line, rule=rule, key=key or None, reason=fault.reason, hint=fault.hint)
        )


def _nothing_published(route: Route, schema: Schema) -> Fault:
    fields = ["id", *(fields_read(route.project) if route.project else ())]
    listed = ", ".join(f'"{field}"' for field in dict.fromkeys(fields))
    add = f"to let it leave, write in [published.{route.source}]: {route.type} = [{listed}]"
    known = [event_type for source, event_type in schema if source == route.source]
    hint = did_you_mean(route.type, known) if route.type not in known else None
    return Fault(f"nothing of {route.source} {route.type} is published, so it has no topic", hint or add)
