"""Route: one rule that decides whether an event leaves, and as what. Routes: all of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic.alias_generators import to_camel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.expression import Expression, ExpressionFailed
from services.adapter.routes.published import NOTHING, NotPublished, Published

NO_ROUTE = "no-route"
"""The rule that is named where none of the file matches: the event is held back."""

EventType = tuple[str, str]
"""The service that publishes, and the event's type."""

Schema = Mapping[EventType, Published]
"""What may leave, for every type of event that there is."""


class RouteFailed(Exception):
    """A route's expression cannot be evaluated on an event, or makes what may not leave. The message names
    the rule, and has no value of the event in it."""

    def __init__(self, rule: str, reason: object) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = str(reason)


def _expression(value: Any) -> Expression:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return Expression(value)


Text = Annotated[str, Field(min_length=1, max_length=256)]
JmesPath = Annotated[Expression, PlainValidator(_expression), PlainSerializer(str, return_type=str)]


class Route(BaseModel):
    """One rule of the file; `routes.toml` explains the keys."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        alias_generator=to_camel,  # in JSON; in the file, keys are as TOML's are
        validate_by_name=True,
        validate_by_alias=False,
        serialize_by_alias=True,
    )

    id: Text
    source: Text
    type: Text
    when: JmesPath | None = None
    project: JmesPath | None = None
    topic: Text | None = None
    hold_back: bool = False

    @property
    def event_type(self) -> EventType:
        return self.source, self.type

    def matches(self, event: CloudEvent) -> bool:
        """Whether `when` holds for an event of the route's type. Raises RouteFailed."""
        return self.when is None or bool(self._evaluated(self.when, event.data))

    def translated(self, event: CloudEvent, published: Published) -> dict[str, Any]:
        """The domain event as it leaves. Raises RouteFailed.

        The projection sees the published fields only, so that nothing else can leave under whatever
        name; and what it makes must be published as well.
        """
        try:
            visible = _domain_event(published.reduced(event.data["source"]), event)
        except NotPublished as error:
            raise RouteFailed(self.id, error) from error
        source = self._evaluated(self.project, visible) if self.project else visible["source"]
        if not isinstance(source, dict) or source.get("id") != event.subject:
            raise RouteFailed(self.id, f"project does not make the aggregate with the id {event.subject}")
        if outside := published.unpublished(source):
            schema = f"the published schema of {self.source} {self.type}"
            raise RouteFailed(self.id, f"not in {schema}: {', '.join(outside)}")
        return _domain_event(source, event)

    def _evaluated(self, expression: Expression, data: dict[str, Any]) -> Any:
        try:
            return expression.search(data)
        except ExpressionFailed as error:
            raise RouteFailed(self.id, error) from error


def _domain_event(source: Any, event: CloudEvent) -> dict[str, Any]:
    return {"source": source, "occurenceOn": event.data["occurenceOn"]}


@dataclass(frozen=True)
class Decision:
    """What is to become of an event. Without a topic it is held back."""

    rule: str
    topic: str | None = None
    data: dict[str, Any] | None = None


class Routes:
    """The rules, in the order of the file, and what may leave by them."""

    def __init__(self, routes: Sequence[Route], schema: Schema) -> None:
        self.routes = tuple(routes)
        self.schema = schema
        self._by_type: dict[EventType, list[Route]] = defaultdict(list)
        for route in routes:
            self._by_type[route.event_type].append(route)

    @property
    def topics(self) -> list[str]:
        return sorted({route.topic for route in self.routes if route.topic})

    def decide(self, event: CloudEvent) -> Decision:
        """The first matching rule's decision. Raises RouteFailed."""
        for route in self._by_type.get((event.source, event.type), ()):
            if route.matches(event):
                return self._decided(route, event)
        return Decision(NO_ROUTE)

    def _decided(self, route: Route, event: CloudEvent) -> Decision:
        if route.topic is None:
            return Decision(route.id)
        published = self.schema.get(route.event_type, NOTHING)
        return Decision(route.id, route.topic, route.translated(event, published))
