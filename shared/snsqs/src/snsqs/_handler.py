"""MessageHandler: what takes a message, and `@sqs_listener`, which makes one of a function."""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin

from snsqs._acknowledgement import Acknowledgement
from snsqs._converter import MessageConverter
from snsqs._domain_event import DomainEvent
from snsqs._errors import ListenerMisconfigured, TerminalError, Unavailable, UnknownType
from snsqs._lease import Lease
from snsqs._message import Message
from snsqs._queue import is_fifo


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to its handler: what the queue said about it, and what middleware adds."""

    message: Message[str]
    queue: str
    receive_count: int
    received_at: datetime
    others: tuple[Message[str], ...] = ()
    """The other messages, when the handler takes a batch."""
    lease: Lease | None = None
    """Of a single message."""
    acknowledgement: Acknowledgement | None = None
    resources: Mapping[type, object] = field(default_factory=dict)
    """What a handler may ask for by type, such as the transaction that it runs in."""
    handler: str = ""
    """The name of the function that takes it."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """What middleware found out about messages that it did not hand on, by their ids. The others of a
    delivery that succeeds are handled."""

    @property
    def messages(self) -> tuple[Message[str], ...]:
        """All messages of the delivery; one, unless the handler takes a batch."""
        return (self.message, *self.others)

    def only(self, messages: Sequence[Message[str]]) -> "Delivery":
        """The same delivery with some of its messages, at least one."""
        return replace(self, message=messages[0], others=tuple(messages[1:]))

    def providing(self, kind: type, value: object) -> "Delivery":
        """The same delivery with one more thing that a handler may ask for."""
        return replace(self, resources={**self.resources, kind: value})


class MessageHandler(Protocol):
    """Takes one delivery. Returning means done; raising means not done, and the type of the error says
    whether trying again can help (`TerminalError`: it cannot)."""

    async def __call__(self, delivery: Delivery) -> None: ...


class Middleware(Protocol):
    """Wraps handling: does its part before and after `proceed`, or does not proceed at all.

    `provides` lists what it adds to the delivery's resources, so that a handler which asks for something
    that nobody provides is found at start.
    """

    @property
    def provides(self) -> tuple[type, ...]: ...

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None: ...


F = TypeVar("F", bound=Callable[..., Awaitable[None]])
_MARK = "__sqs_listener__"


@dataclass(frozen=True, slots=True)
class _Mark:
    queue: str
    topic: str


def sqs_listener(queue: str, *, topic: str) -> Callable[[F], F]:
    """Marks a function as the handler of one or more event types on `queue`, which is subscribed to `topic`.

    Any number of functions may name the same queue; the annotation of each says which event types it takes:

        @sqs_listener("scm-adapter-order-event-queue", topic="order-events")
        async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None: ...

    Parameters are filled by type: a DomainEvent (or a union of them), `Message`, `Delivery`, `Lease`,
    `Acknowledgement`, and whatever the middleware provides, such as the transaction. A handler that asks for
    `list[OrderCompleted]` is given what waits, ten at most, and is called again one by one when it fails.

    It registers nothing; `bindings()` collects what an application lists.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, _Mark(queue, topic))
        return function

    return mark


class HandlerMethod:
    """A function marked `@sqs_listener` as a MessageHandler."""

    def __init__(self, function: Callable[..., Awaitable[None]], converter: MessageConverter) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._function = function
        self._converter = converter
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters)
        if missing := [name for name in parameters if name not in hints]:
            raise ListenerMisconfigured(f"{self.name}: annotate {', '.join(missing)}; parameters go by type")
        self._kinds = [hints[name] for name in parameters]
        events = [event for kind in self._kinds for event in _event_types(kind)]
        if not events:
            raise ListenerMisconfigured(
                f"{self.name} takes no event: annotate a parameter with a DomainEvent"
            )
        self.event_types: dict[str, type[DomainEvent]] = {event.event_type: event for event in events}
        self.takes_batches = any(_is_batch(kind) for kind in self._kinds)
        if sum(bool(_event_types(kind)) for kind in self._kinds) > 1:
            raise ListenerMisconfigured(f"{self.name} takes several events; for several types, use a union")
        if self.takes_batches and Lease in self._kinds:
            raise ListenerMisconfigured(f"{self.name} takes a batch, which has no single Lease")
        if others := [other for kind in self._kinds if _event_types(kind) for other in _other_members(kind)]:
            raise ListenerMisconfigured(f"{self.name}: a union of events has no other members: {others}")
        self._arguments = [self._argument(kind) for kind in self._kinds]

    @property
    def asks_for(self) -> set[type]:
        """The types that middleware has to provide."""
        return {kind for kind in self._kinds if not _event_types(kind) and _origin(kind) not in _GIVEN}

    async def __call__(self, delivery: Delivery) -> None:
        await self._function(*[argument(delivery) for argument in self._arguments])

    def _argument(self, kind: type) -> Callable[[Delivery], object]:
        """How a parameter of this type is filled."""
        if _is_batch(kind):
            return lambda delivery: [self._event(message) for message in delivery.messages]
        if _event_types(kind):
            return lambda delivery: self._event(delivery.message)
        return _GIVEN.get(_origin(kind)) or (lambda delivery: delivery.resources[kind])

    def _event(self, message: Message[str]) -> DomainEvent:
        return self._converter.from_message(message, self.event_types[message.type])


@dataclass(frozen=True)
class Binding:
    """A queue, the topic that feeds it and the handlers of its event types. It is the contract:
    queue, dead-letter queue, subscription and filter policy are derived from it."""

    queue: str
    topic: str
    handlers: Mapping[str, HandlerMethod]

    @property
    def dead_letter_queue(self) -> str:
        if is_fifo(self.queue):
            return f"{self.queue.removesuffix('.fifo')}-dlq.fifo"
        return f"{self.queue}-dlq"

    @property
    def event_types(self) -> list[str]:
        return sorted(self.handlers)

    def handler_of(self, message: Message[str]) -> HandlerMethod:
        """The handler of the message's type. Raises UnknownType."""
        handler = self.handlers.get(message.type)
        if handler is None:
            raise UnknownType(
                f"no handler on {self.queue} takes {message.type!r}; it takes {', '.join(self.event_types)}"
            )
        return handler


def bindings(functions: Iterable[Callable[..., Awaitable[None]]]) -> list[Binding]:
    """One Binding per queue that the marked functions name. Raises ListenerMisconfigured."""
    topics: dict[str, str] = {}
    handlers: dict[str, dict[str, HandlerMethod]] = {}
    for function in functions:
        mark: _Mark | None = getattr(function, _MARK, None)
        if mark is None:
            raise ListenerMisconfigured(f"{function.__qualname__} is not marked @sqs_listener")
        if topics.setdefault(mark.queue, mark.topic) != mark.topic:
            raise ListenerMisconfigured(
                f"{mark.queue} is bound to {topics[mark.queue]} and to {mark.topic}; one queue, one topic"
            )
        method = HandlerMethod(function, MessageConverter())
        on_queue = handlers.setdefault(mark.queue, {})
        for event_type in method.event_types:
            if event_type in on_queue:
                raise ListenerMisconfigured(
                    f"{on_queue[event_type].name} and {method.name} both take {event_type} on {mark.queue}"
                )
            on_queue[event_type] = method
    return [Binding(queue, topics[queue], on_queue) for queue, on_queue in handlers.items()]


def dispatch(binding: Binding) -> MessageHandler:
    """The innermost handler: picks the function that takes the message's type."""

    async def handle(delivery: Delivery) -> None:
        handler = binding.handler_of(delivery.message)
        try:
            await handler(delivery)
        except ExceptionGroup as group:
            error = _in_one(group)
            error.add_note(f"raised by {handler.name}")
            raise error from (None if error is group else group)
        except Exception as error:
            error.add_note(f"raised by {handler.name}")
            raise

    return handle


def _in_one(group: ExceptionGroup[Exception]) -> Exception:
    """What a task group's errors say about the message, when all of them say something: that trying again
    cannot help, if one does; else that something is away. Any other group is an error like any other."""
    _, others = group.split((TerminalError, Unavailable))
    if others is not None:
        return group
    error: Exception = group.subgroup(TerminalError) or group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def compose(handler: MessageHandler, middleware: Iterable[Middleware]) -> MessageHandler:
    """The handler inside its middleware; the first one named is the outermost."""
    for layer in reversed(list(middleware)):
        handler = _wrap(layer, handler)
    return handler


def _wrap(layer: Middleware, inner: MessageHandler) -> MessageHandler:
    async def handle(delivery: Delivery) -> None:
        await layer(delivery, inner)

    return handle


_GIVEN: Mapping[type, Callable[[Delivery], object]] = {
    Message: lambda delivery: delivery.message,
    Delivery: lambda delivery: delivery,
    Lease: lambda delivery: delivery.lease,
    Acknowledgement: lambda delivery: delivery.acknowledgement,
}
"""What the library itself gives a handler that asks for it."""


def _is_batch(kind: Any) -> bool:
    return get_origin(kind) is list


def _event_types(kind: Any) -> list[type[DomainEvent]]:
    return [member for member in _members(kind) if _is_event(member)]


def _other_members(kind: Any) -> list[Any]:
    return [member for member in _members(kind) if not _is_event(member)]


def _members(kind: Any) -> Sequence[Any]:
    if _is_batch(kind):
        return _members(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_event(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, DomainEvent)


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind
