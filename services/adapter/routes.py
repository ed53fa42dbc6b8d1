"""Routes: the rules that decide which events leave, read from a file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.adapter.cloud_event import CloudEvent

NO_ROUTE = "no-route"
"""The rule that is named where none of the file matches: the event is held back."""


class RoutesInvalid(Exception):
    """The route file cannot be used. The message names the file, and for each error the rule, the key and
    the reason."""


class RouteFailed(Exception):
    """A route's expression cannot be evaluated on an event, or makes something that is not its aggregate."""


def _is_jmespath(expression: str) -> str:
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"not JMESPath: {' '.join(str(error).split())}") from None
    return expression


Text = Annotated[str, Field(min_length=1)]
Expression = Annotated[Text, AfterValidator(_is_jmespath)]


class Route(BaseModel):
    """One rule of the file; `routes.toml` explains the keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Text
    source: Text
    type: Text
    when: Expression | None = None
    project: Expression | None = None
    topic: Text | None = None
    hold_back: bool = False

    @model_validator(mode="after")
    def _decides_one_way(self) -> "Route":
        if self.hold_back == (self.topic is not None):
            raise ValueError("needs either a topic or hold_back = true")
        if self.hold_back and self.project:
            raise ValueError("a rule that holds back has nothing to project")
        return self

    def matches(self, event: CloudEvent) -> bool:
        """Raises RouteFailed where `when` cannot be evaluated."""
        if (self.source, self.type) != (event.source, event.type):
            return False
        return self.when is None or bool(self._evaluate(self.when, event))

    def translated(self, event: CloudEvent) -> dict[str, Any]:
        """The domain event as it leaves. Raises RouteFailed."""
        if self.project is None:
            return event.data
        source = self._evaluate(self.project, event)
        if not isinstance(source, dict) or source.get("id") != event.subject:
            raise RouteFailed(f"{self.id}: project does not make the aggregate with the id {event.subject}")
        return {**event.data, "source": source}

    def _evaluate(self, expression: str, event: CloudEvent) -> Any:
        try:
            return jmespath.search(expression, event.data)
        except JMESPathError as error:
            raise RouteFailed(f"{self.id}: {' '.join(str(error).split())}") from error


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    route: list[Route] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "_File":
        ids = [route.id for route in self.route]
        if twice := sorted({route_id for route_id in ids if ids.count(route_id) > 1}):
            raise ValueError(f"rule ids stand for one rule each: {', '.join(twice)}")
        if NO_ROUTE in ids:
            raise ValueError(f"the id {NO_ROUTE} is taken for events that no rule names")
        return self


@dataclass(frozen=True)
class Decision:
    """What is to become of an event. Without a topic it is held back."""

    rule: str
    topic: str | None = None
    data: dict[str, Any] | None = None


class Routes:
    """The rules, in the order of the file."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes = routes

    @property
    def topics(self) -> list[str]:
        return sorted({route.topic for route in self._routes if route.topic})

    def decide(self, event: CloudEvent) -> Decision:
        """The first matching rule's decision. Raises RouteFailed."""
        for route in self._routes:
            if route.matches(event):
                data = route.translated(event) if route.topic else None
                return Decision(route.id, route.topic, data)
        return Decision(NO_ROUTE)


def read_routes(file: Path) -> Routes:
    """Reads and checks the whole file. Raises RoutesInvalid with every error that it found."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RoutesInvalid(f"{file}: {error}") from error
    try:
        return Routes(_File.model_validate(document).route)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        reasons = "; ".join(_where(problem["loc"], document) + _said(problem["msg"]) for problem in problems)
        raise RoutesInvalid(f"{file}: {reasons}") from error


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _where(location: tuple[int | str, ...], document: dict[str, Any]) -> str:
    """`rule 3 "invoice-to-order", key topic: `, as far as the location goes."""
    match location:
        case ("route", int(number), *keys):
            rule = document["route"][number]
            name = f' "{rule["id"]}"' if isinstance(rule, dict) and "id" in rule else ""
            key = f", key {'.'.join(map(str, keys))}" if keys else ""
            return f"rule {number + 1}{name}{key}: "
        case (key, *_):
            return f"key {key}: "
        case _:
            return ""
