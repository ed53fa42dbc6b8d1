"""MessageHandler, Middleware, and `@sqs_listener`, which turns a function into the handler of event types."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from snsqs._acknowledgement import Acknowledgement
from snsqs._address import is_name, parse_address, queue_name
from snsqs._batch_failures import BatchFailures
from snsqs._converter import JSON_CONVERTER, MessageConverter
from snsqs._errors import (
    InvalidEvent,
    ListenerMisconfigured,
    MessagingError,
    RetryAfter,
    TerminalError,
    Unavailable,
    UndecodableMessage,
    UnknownType,
    as_exception,
    error_reason,
    error_text,
)
from snsqs._event import EventDeclaration, declared, name_of
from snsqs._lease import Lease
from snsqs._message import Message
from snsqs._names import address_errors
from snsqs._parameters import HandlerSignature, Parameter
from snsqs._queue import is_fifo
from snsqs._settings import QueueSettings
from snsqs._threads import HandlerThreads
from snsqs.headers import SEQUENCE, SUBJECT


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages on their way to a handler, with facts from the queue and resources from middleware."""

    messages: tuple[Message[str], ...]
    """At least one; exactly one unless the handler takes a batch."""
    queue: str
    receive_count: int
    """Number of deliveries so far, including this one; in a batch the highest."""
    received_at: datetime
    handler: str = ""
    """Name of the handler function."""
    resources: Mapping[type, object] = field(default_factory=dict)
    """Values for handler parameters by type, such as the transaction that a handler runs in."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Outcomes by message id: `handled`, or the outcome that middleware sets for a message that it does not
    pass on. A message without one was `filtered`, if the delivery succeeds."""

    @property
    def message(self) -> Message[str]:
        """The message; of a batch, the first one."""
        return self.messages[0]

    def only(self, messages: Sequence[Message[str]]) -> "Delivery":
        """Return the delivery with some of its messages, at least one."""
        return replace(self, messages=tuple(messages))

    def providing(self, kind: type, value: object) -> "Delivery":
        """Return the delivery with a value for handler parameters of type `kind`."""
        return replace(self, resources={**self.resources, kind: value})


class MessageHandler(Protocol):
    """Handles one delivery. Returning means success. Raising means failure, to be retried unless the error is
    a `TerminalError`."""

    async def __call__(self, delivery: Delivery) -> None: ...


class Middleware(Protocol):
    """Wraps handling: acts before and after `proceed`, or does not call it.

    A message that it does not pass on, or whose error it suppresses, is deleted. Its outcome is `filtered`,
    unless the middleware sets another one in `Delivery.outcomes`.
    """

    @property
    def provides(self) -> tuple[type, ...]:
        """Types that it adds to the delivery's resources. A handler with a parameter that no middleware
        provides is rejected at start."""
        ...

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None: ...


HandlerFunction = Callable[..., Awaitable[None] | None]
"""A handler as it is declared: `async def`, or `def`, which runs in a thread."""

F = TypeVar("F", bound=HandlerFunction)
T = TypeVar("T")
_MARK = "__sqs_listener__"


@dataclass(frozen=True, slots=True)
class _Mark:
    """One queue of a marked function."""

    queue: str
    topics: tuple[str, ...]
    converter: MessageConverter | None = None
    settings: QueueSettings | None = None


def sqs_listener(
    queue: str | Sequence[str],
    *,
    topic: str | Sequence[str] | None = None,
    converter: MessageConverter | None = None,
    settings: QueueSettings | None = None,
) -> Callable[[F], F]:
    """Mark a function as the handler of one or more event types on `queue`, which is subscribed to `topic`.

    Any number of functions may name the same queue; the annotations determine their event types:

        @sqs_listener("scm-adapter-order-event-queue", topic="order-events")
        async def on_order_completed(event: OrderCompleted, tx: Transaction) -> None: ...

    Parameters are filled by type: an event (or a union of them), `Message`, `Delivery`, `Lease`,
    `Acknowledgement`, and the types that middleware provides, such as a transaction. A handler with a
    parameter `list[OrderCompleted]` receives up to ten pending events at once, and one by one if it fails,
    unless it reports those that failed with `BatchFailures`.

    A handler declared with `def` runs in a thread, of which a listener has as many as `max_concurrency`. It
    cannot be cancelled: if its time limit is over or its lease is lost, its slot stays occupied until it
    returns, and its message is not acknowledged. It must not take what belongs to the event loop, such as
    `Acknowledgement` or a transaction.

    `topic` may be several topics: the queue receives the function's event types from each of them. Without a
    topic the queue is a work queue, to which messages are sent directly. `queue` may be several queues, and
    the decorator may be repeated for queues with different topics. A topic is given by its name or ARN, a
    queue by its name, URL or ARN; ARN and URL may be of another account or region.

    `converter` converts the messages of the queue, which has one; the default is `JsonConverter`. `settings`
    are those of the queue; one of its handlers has them, or several have the same.

    The decorator registers nothing; an application passes its functions to `bindings()`.
    """
    queues = _names(queue, "queue", "set a name, URL or ARN, or several of them")
    remedy = "set a name or ARN, or several of them, or leave it unset for a work queue"
    topics = () if topic is None else _names(topic, "topic", remedy)

    def mark(function: F) -> F:
        if not inspect.isroutine(function) or isinstance(function, staticmethod | classmethod):
            raise ListenerMisconfigured(
                f"@sqs_listener marks functions and methods, not {function!r}; declare a function that "
                "calls it"
            )
        marks = [_Mark(each, topics, converter, settings) for each in queues]
        setattr(function, _MARK, (*marks, *getattr(function, _MARK, ())))
        return function

    return mark


def _names(names: object, argument: str, remedy: str) -> tuple[str, ...]:
    listed = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else ()
    if not listed or not all(isinstance(each, str) and each for each in listed):
        raise ListenerMisconfigured(f"@sqs_listener: {argument} is {names!r}; {remedy}")
    return listed


class HandlerMethod:
    """A function marked `@sqs_listener`, as a MessageHandler. Raises ListenerMisconfigured when its
    annotations do not identify its events, or it cannot be called."""

    def __init__(self, function: HandlerFunction, converter: MessageConverter) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._function: Callable[..., Any] = function
        self._converter = converter
        self._signature = HandlerSignature(function, self.name)
        self._declarations: dict[str, EventDeclaration] = {}
        self.event_types: dict[str, Any] = {}
        """Event classes by the names under which they are consumed."""
        for event in self._signature.event_types:
            self._add(event)
        self.takes_batches = self._signature.takes_batches
        self.takes_failures = self.takes(BatchFailures)
        self.runs_in_thread = self._signature.runs_in_thread
        self._positional: list[Callable[[Delivery], object]] = []
        self._keywords: dict[str, Callable[[Delivery], object]] = {}
        for parameter in self._signature.parameters:
            if parameter.is_keyword:
                self._keywords[parameter.name] = self._argument(parameter)
            else:
                self._positional.append(self._argument(parameter))

    def _add(self, event: Any) -> None:
        try:
            declaration = declared(event)
            declaration.validate(event)
            self._converter.validate_type(event)
        except InvalidEvent as error:
            raise ListenerMisconfigured(f"{self.name}: {error}") from error
        for name in declaration.names:
            if name in self.event_types:
                raise ListenerMisconfigured(
                    f"{self.name} takes {_full_name(self.event_types[name])} and {_full_name(event)}, which "
                    f"are both consumed as {name!r}; give one of them another type name"
                )
            self.event_types[name] = event
            self._declarations[name] = declaration

    def takes(self, kind: type) -> bool:
        """Return whether a parameter has this type."""
        return self._signature.takes(kind)

    @property
    def dependencies(self) -> list[Parameter]:
        """Parameters that middleware has to provide."""
        return [
            each
            for each in self._signature.parameters
            if not each.event_types and each.origin not in _BUILT_IN
        ]

    async def call(self, delivery: Delivery, threads: HandlerThreads) -> None:
        """Call the function, a `def` in one of the threads."""
        positional = [argument(delivery) for argument in self._positional]
        keywords = {name: argument(delivery) for name, argument in self._keywords.items()}
        if not self.runs_in_thread:
            await self._function(*positional, **keywords)
            return
        result = await threads.run(self.name, partial(self._function, *positional, **keywords))
        if inspect.isawaitable(result):  # of a decorator that wraps a coroutine function without saying so
            await result

    def _argument(self, parameter: Parameter) -> Callable[[Delivery], object]:
        """Return the function that fills a parameter."""
        if parameter.event_types:
            return self._batch if parameter.is_batch else lambda delivery: self._event(delivery.message)
        if parameter.origin is Message:
            return lambda delivery: delivery.message
        kind = parameter.kind
        return lambda delivery: delivery if kind is Delivery else delivery.resources[kind]

    def _batch(self, delivery: Delivery) -> list[object]:
        events = [self._event(message) for message in delivery.messages]
        if self.takes_failures:
            failures = delivery.resources[BatchFailures]
            assert isinstance(failures, BatchFailures)
            failures.expect(events, (message.id for message in delivery.messages))
        return events

    def _event(self, message: Message[str]) -> object:
        """Return the event of a message. Raises UndecodableMessage, also when its headers contradict it:
        duplicates and older versions are detected by headers."""
        event = self._convert(message)
        subject, version = _identity(self._declarations[message.type], event)
        if message.subject != subject and message.subject and subject:
            raise UndecodableMessage(f"the payload is about {subject}, {SUBJECT} about {message.subject}")
        if message.sequence != version and message.sequence is not None and version is not None:
            raise UndecodableMessage(f"the payload has version {version}, {SEQUENCE} {message.sequence}")
        return event

    def with_identity(self, message: Message[str]) -> Message[str]:
        """Return the message with subject and version of its event where its headers have none. A payload
        that cannot be read yet is left to the handler: middleware may have to fetch it."""
        if message.subject and message.sequence is not None:
            return message
        declaration = self._declarations[message.type]
        if not declaration.has_identity:
            return message
        try:
            subject, version = _identity(declaration, self._convert(message))
        except MessagingError:
            return message
        found: dict[str, str] = {}
        if subject and not message.subject:
            found[SUBJECT] = subject
        if version is not None and message.sequence is None:
            found[SEQUENCE] = str(version)
        return message.copy(headers=found) if found else message

    def _convert(self, message: Message[str]) -> object:
        try:
            return self._converter.from_message(message, self.event_types[message.type])
        except MessagingError:
            raise
        except Exception as error:
            raise UndecodableMessage(error_reason(error)) from error


@dataclass(frozen=True)
class Binding:
    """A queue, the topics it is subscribed to, and the handlers of its event types. Queue, dead-letter queue,
    subscriptions and filter policies are derived from it. Raises ListenerMisconfigured for names that SQS or
    SNS rejects, and for a FIFO queue with a standard topic or the other way round."""

    queue: str
    topics: Mapping[str, Sequence[str]]
    """Event types by topic, sorted: the filter of each subscription. A work queue has no topic."""
    handlers: Mapping[str, HandlerMethod]
    converter: MessageConverter = field(default_factory=lambda: JSON_CONVERTER)
    settings: QueueSettings = field(default_factory=QueueSettings)
    queue_address: str = ""
    """URL or ARN of the queue, if it is given by one; `queue` is its name."""

    def __post_init__(self) -> None:
        queue = self.queue_address or self.queue
        for error in address_errors(queue, self.dead_letter_queue, self.topics):
            handlers = ", ".join(sorted({handler.name for handler in self.handlers.values()}))
            raise ListenerMisconfigured(f"{handlers}: {error}")

    @property
    def topic(self) -> str:
        """The topic, or the first of several; empty for a work queue."""
        return next(iter(self.topics), "")

    @property
    def dead_letter_queue(self) -> str:
        """Name of the dead-letter queue: that of the settings, or the queue's with the suffix `-dlq`."""
        if self.settings.dead_letter_queue is not None:
            return self.settings.dead_letter_queue
        if is_fifo(self.queue):
            return f"{self.queue.removesuffix('.fifo')}-dlq.fifo"
        return f"{self.queue}-dlq"

    @property
    def dead_letter_address(self) -> str:
        """Name, URL or ARN of the dead-letter queue, as the queue is given: it is in the same account."""
        if not self.queue_address:
            return self.dead_letter_queue
        return parse_address(self.queue_address, "sqs").of_same_account(self.dead_letter_queue)

    @property
    def event_types(self) -> list[str]:
        return sorted(self.handlers)

    def renamed(self, rename: Callable[[str], str]) -> "Binding":
        """Return the binding with other names: `rename` maps those of queue, dead-letter queue and topics, to
        names, URLs or ARNs. A URL or ARN is not mapped. Raises ListenerMisconfigured for invalid names."""
        queue = self.queue_address or self.queue
        return replace(self, **_resources(queue, self.topics, self.settings, rename))

    def handler_for(self, message: Message[str]) -> HandlerMethod:
        """Return the handler of the message's type. Raises UnknownType."""
        handler = self.handlers.get(message.type)
        if handler is None:
            raise UnknownType(
                f"no handler on {self.queue} takes {message.type!r}; it takes {', '.join(self.event_types)}"
            )
        return handler

    def with_identity(self, message: Message[str]) -> Message[str]:
        """Return the message with subject and version of its event where its headers have none. Raises
        UnknownType."""
        return self.handler_for(message).with_identity(message)


def bindings(
    handlers: Iterable[HandlerFunction | Binding],
    *,
    settings: Mapping[str, QueueSettings] | None = None,
    rename: Callable[[str], str] | None = None,
) -> list[Binding]:
    """Return one Binding for each queue that the marked functions name. Raises ListenerMisconfigured.

    The bindings are accepted wherever functions are; bindings among `handlers` are returned with the settings
    and names that are given here.

    Args:
        settings: settings by queue, as it is declared; they take precedence over those of `@sqs_listener`.
        rename: maps the declared names of queues, dead-letter queues and topics to the names, URLs or ARNs
            of an environment.
    """
    bound: dict[str, Binding] = {}
    marked: dict[str, list[tuple[_Mark, HandlerFunction]]] = {}
    for handler in handlers:
        if not isinstance(handler, Binding):
            for mark in _marks_of(handler):
                marked.setdefault(mark.queue, []).append((mark, handler))
        elif bound.setdefault(handler.queue_address or handler.queue, handler) is not handler:
            raise ListenerMisconfigured(f"{handler.queue} has two bindings; pass one")
    if both := sorted(bound.keys() & marked.keys()):
        raise ListenerMisconfigured(f"{', '.join(both)}: pass the queue's binding or its functions, not both")
    declared = [*bound, *marked]
    settings, rename = settings or {}, rename or _unchanged
    if unknown := sorted(settings.keys() - declared):
        raise ListenerMisconfigured(
            f"settings name {', '.join(unknown)}, for which there is no handler; the queues are "
            f"{', '.join(declared)}"
        )
    configured = {}
    for queue, binding in bound.items():
        chosen = settings.get(queue, QueueSettings()).or_else(binding.settings)
        configured[queue] = replace(binding, settings=chosen).renamed(rename)
    for queue, on_queue in marked.items():
        configured[queue] = _binding(queue, on_queue, settings.get(queue, QueueSettings()), rename)
    _validate_distinct({queue: each.queue for queue, each in configured.items()})
    return list(configured.values())


def _unchanged(name: str) -> str:
    return name


def _resources(
    queue: str, topics: Mapping[str, Sequence[str]], settings: QueueSettings, rename: Callable[[str], str]
) -> dict[str, Any]:
    """Return the fields of a Binding that name resources, with their new names."""
    dead_letters = settings.dead_letter_queue
    names = {topic: rename(topic) if is_name(topic) else topic for topic in topics}
    if len(set(names.values())) < len(names):
        raise ListenerMisconfigured(f"{queue}: two topics have the same new name: {names}")
    address = rename(queue) if is_name(queue) else queue
    return {
        "queue": queue_name(address),
        "queue_address": "" if is_name(address) else address,
        "topics": {names[topic]: types for topic, types in topics.items()},
        "settings": replace(settings, dead_letter_queue=dead_letters and rename(dead_letters)),
    }


def _validate_distinct(names: Mapping[str, str]) -> None:
    """Require different names of the queues, given by their declarations: inbox and metrics tell queues apart
    by their names."""
    declared: dict[str, str] = {}
    for declaration, name in names.items():
        if name in declared:
            raise ListenerMisconfigured(
                f"the queues {declared[name]} and {declaration} both have the name {name}; declare a queue "
                "in one way only, and consume two queues with the same name in two processes"
            )
        declared[name] = declaration


def _binding(
    queue: str,
    marked: Sequence[tuple[_Mark, HandlerFunction]],
    settings: QueueSettings,
    rename: Callable[[str], str],
) -> Binding:
    converter = _only(queue, "converters", [mark.converter for mark, _ in marked]) or JSON_CONVERTER
    settings = settings.or_else(
        _only(queue, "settings", [mark.settings for mark, _ in marked]) or QueueSettings()
    )
    handlers: dict[str, HandlerMethod] = {}
    topics: dict[str, set[str]] = {}
    for position, (mark, function) in enumerate(marked):
        method = HandlerMethod(function, converter)
        if any(function == other for _, other in marked[:position]):
            raise ListenerMisconfigured(
                f"{method.name} is named twice for {queue}; list it once, with all topics of the queue in "
                "one decorator"
            )
        for event_type in method.event_types:
            if event_type in handlers:
                raise ListenerMisconfigured(
                    f"{handlers[event_type].name} and {method.name} both take {event_type} on {queue}"
                )
            handlers[event_type] = method
        for topic in mark.topics:
            topics.setdefault(topic, set()).update(method.event_types)
    by_topic = {topic: sorted(types) for topic, types in topics.items()}
    return Binding(handlers=handlers, converter=converter, **_resources(queue, by_topic, settings, rename))


def _marks_of(function: HandlerFunction) -> Sequence[_Mark]:
    """Return the marks of a function, one for each of its queues."""
    marks: tuple[_Mark, ...] = getattr(function, _MARK, ())
    if not marks:
        name = getattr(function, "__qualname__", repr(function))
        raise ListenerMisconfigured(f"{name} is not marked @sqs_listener")
    return marks


def _only(queue: str, what: str, values: Sequence[T | None]) -> T | None:
    """Return the one value that the handlers of a queue name, or None. Raises ListenerMisconfigured if they
    name several."""
    chosen: T | None = None
    for value in values:
        if value is not None and chosen is not None and value != chosen:
            raise ListenerMisconfigured(
                f"{queue}: its handlers have different {what}: {chosen!r} and {value!r}; set one"
            )
        chosen = value if chosen is None else chosen
    return chosen


def message_handler(
    binding: Binding, middleware: Sequence[Middleware] = (), threads: HandlerThreads | None = None
) -> MessageHandler:
    """Return the binding's handlers as one MessageHandler inside its middleware, the first one outermost.

    Each delivery goes to the function that handles the type of its messages, a `def` in one of the threads.
    Raises ListenerMisconfigured when a function has a parameter that no middleware provides.
    """
    _validate_dependencies(binding, middleware)
    threads = threads or HandlerThreads()

    async def dispatch(delivery: Delivery) -> None:
        handler = binding.handler_for(delivery.message)
        try:
            await handler.call(delivery, threads)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:
            error = as_exception(_representative(raised))
            with suppress(TypeError):  # `__notes__` was set to something else than a list
                error.add_note(f"raised by {handler.name}")
            if error is raised:
                raise
            raise error from raised
        delivery.outcomes.update((message.id, "handled") for message in delivery.messages)

    handle: MessageHandler = dispatch
    for layer in reversed(middleware):
        handle = _wrap(layer, handle, binding)
    return handle


def _validate_dependencies(binding: Binding, middleware: Sequence[Middleware]) -> None:
    for layer in middleware:
        _validate_middleware(layer, binding.queue)
    provided = {kind for layer in middleware for kind in layer.provides}
    for handler in binding.handlers.values():
        for parameter in handler.dependencies:
            if parameter.kind not in provided:
                raise ListenerMisconfigured(
                    f"{handler.name} takes {parameter.name} of type {parameter.type_name}, which no "
                    "middleware provides; add the middleware, or remove the parameter"
                )


def _validate_middleware(layer: object, queue: str) -> None:
    if isinstance(layer, type) or not callable(layer) or not hasattr(layer, "provides"):
        raise ListenerMisconfigured(
            f"{queue}: {layer!r} is no middleware; pass an object with `provides` and "
            "`async def __call__(self, delivery, proceed)`"
        )


def _representative(error: BaseException) -> BaseException:
    """Return the error that decides about the message: if all errors of a task group are TerminalError,
    RetryAfter or Unavailable, the first one of the first of these types. Return any other error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    _, others = error.split((TerminalError, RetryAfter, Unavailable))
    if others is not None:
        return error
    first: BaseException = error.subgroup(TerminalError) or error.subgroup(RetryAfter) or error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _wrap(layer: Middleware, inner: MessageHandler, binding: Binding) -> MessageHandler:
    """Return the handler inside a middleware. A message that the middleware replaces, such as by one with a
    fetched payload, gets subject and version of its event too, which the layers inside may depend on."""

    async def handle(delivery: Delivery) -> None:
        try:
            await layer(delivery, _identifying(inner, binding, delivery.messages))
        except asyncio.CancelledError:
            raise
        except BaseException as raised:
            error = as_exception(raised)
            if error is raised:
                raise
            raise error from raised

    return handle


def _identifying(inner: MessageHandler, binding: Binding, known: Sequence[Message[str]]) -> MessageHandler:
    async def handle(delivery: Delivery) -> None:
        if not {*map(id, delivery.messages)} <= {*map(id, known)}:
            delivery = delivery.only([binding.with_identity(message) for message in delivery.messages])
        await inner(delivery)

    return handle


_BUILT_IN = {Acknowledgement, BatchFailures, Delivery, Lease, Message}
"""Parameter types that the library provides itself."""


def _identity(declaration: EventDeclaration, event: object) -> tuple[str, int | None]:
    try:
        return declaration.id_of(event), declaration.version_of(event)
    except Exception as error:
        raise UndecodableMessage(error_text(error)) from error


def _full_name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else name_of(kind)
