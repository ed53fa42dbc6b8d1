"""Routes: rules that decide which events leave, and the decision that they make on an event."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel
from snsqs import Message, MessagingError, size_error

from services.adapter.cloud_event import CloudEvent, describe_errors
from services.adapter.routes.expression import Expression, ExpressionFailed
from services.adapter.routes.published import NOTHING, NotPublished, Published

NO_ROUTE = "no-route"
"""Rule of events that match no route: they are held back."""

EventType = tuple[str, str]
"""Name of the publishing service, and type of the event."""

Schema = Mapping[EventType, Published]
"""Published schema: the fields that may leave, for every type of event."""

Outcome = Literal["forwarded", "held_back", "failed"]


class Outgoing(NamedTuple):
    """Message that leaves, and its topic."""

    topic: str
    message: Message[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision on one event of a batch, and the outcome of publishing it.

    The event's own attributes are empty strings where it has none: it may not be a CloudEvent at all.
    """

    id: str
    type: str
    source: str
    order_id: str
    decision: Outcome
    rule: str | None = None
    """Rule that decided or failed; None for something that is not a CloudEvent."""
    outgoing: Outgoing | None = None
    """None unless the rule forwards the event."""
    message_id: str | None = None
    """Assigned by SNS when it accepted the message."""
    error: str | None = None
    """Set when `decision` is `failed`. Contains no value of the event's data."""
    decided_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def topic(self) -> str | None:
        return self.outgoing.topic if self.outgoing else None

    def published(self, result: str | MessagingError) -> "Decision":
        """Return the decision with the result of publishing its message: a message id or an error."""
        if isinstance(result, MessagingError):
            return replace(self, decision="failed", error=str(result))
        return replace(self, message_id=result)


class RouteFailed(Exception):
    """A route cannot decide on an event, or the event cannot leave. The message names the rule and contains
    no value of the event."""

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
    """Rule of the route file; `routes.toml` explains the keys."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        alias_generator=to_camel,  # in JSON; the file's keys are those of TOML
        validate_by_name=True,
        validate_by_alias=False,
        serialize_by_alias=True,
    )

    id: Text
    source: Text
    type: Text
    when: JmesPath | None = None
    topic: Text | None = None
    hold_back: bool = False

    @property
    def event_type(self) -> EventType:
        return self.source, self.type

    def matches(self, event: CloudEvent) -> bool:
        """Return whether `when` holds for an event of the route's type. Raises RouteFailed."""
        if self.when is None:
            return True
        try:
            return bool(self.when.search(event.data))
        except ExpressionFailed as error:
            raise RouteFailed(self.id, error) from error

    def translate(self, event: CloudEvent, published: Published) -> Message[str]:
        """Return the message that leaves: the event with its published fields only. Raises RouteFailed."""
        try:
            aggregate = published.select(event.data["source"])
        except NotPublished as error:
            raise RouteFailed(self.id, error) from error
        if aggregate.get("id") != event.subject:
            raise RouteFailed(self.id, f"source.id is not the subject of the event, {event.subject}")
        message = event.message(aggregate)
        if too_large := size_error(message):
            raise RouteFailed(self.id, too_large)
        return message


class Routes:
    """Rules in the order of the file, and the published schema."""

    def __init__(self, routes: Sequence[Route], schema: Schema) -> None:
        self.routes = tuple(routes)
        self.schema = schema
        self._by_type: dict[EventType, list[Route]] = defaultdict(list)
        for route in routes:
            self._by_type[route.event_type].append(route)

    @property
    def topics(self) -> list[str]:
        return sorted({route.topic for route in self.routes if route.topic})

    def evaluate(self, event: object) -> Decision:
        """Return the decision on an event: that of the first rule that matches.

        `event` is a CloudEvent or parsed JSON. Nothing is published and no error is raised: something that
        is not a CloudEvent, or that its rule fails on, is decided as `failed`.
        """
        try:
            event = CloudEvent.model_validate(event)
        except ValidationError as error:
            names = _text(event, "id"), _text(event, "type"), _text(event, "source"), _text(event, "subject")
            return Decision(*names, "failed", error=describe_errors(error))
        names = event.id, event.type, event.source, event.subject
        for route in self._by_type.get((event.source, event.type), ()):
            try:
                if not route.matches(event):
                    continue
                outgoing = self._outgoing(route, event)
            except RouteFailed as error:
                return Decision(*names, "failed", route.id, error=str(error))
            return Decision(*names, "forwarded" if outgoing else "held_back", route.id, outgoing)
        return Decision(*names, "held_back", NO_ROUTE)

    def _outgoing(self, route: Route, event: CloudEvent) -> Outgoing | None:
        if route.topic is None:
            return None
        return Outgoing(route.topic, route.translate(event, self.schema.get(route.event_type, NOTHING)))


def _text(given: object, key: str) -> str:
    """Return a member of arbitrary JSON as printable text, for logs and answers."""
    value = given.get(key, "") if isinstance(given, dict) else ""
    return str(value)[:256].encode("ascii", "replace").decode()
