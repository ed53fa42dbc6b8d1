"""MessageHandler, Middleware, and HandlerMethod, a function that handles event types."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from snsqs._acknowledgement import Acknowledgement
from snsqs._batch_failures import BatchFailures
from snsqs._converter import MessageConverter
from snsqs._envelopes import envelope_hint
from snsqs._errors import (
    InvalidEvent,
    ListenerMisconfigured,
    MessagingError,
    UndecodableMessage,
    error_reason,
    error_text,
)
from snsqs._event import EventDeclaration, declared, name_of
from snsqs._lease import Lease
from snsqs._message import Message
from snsqs._parameters import HandlerSignature, Parameter
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
        sent_subject, sequence = message.subject, message.sequence
        if sent_subject != subject and sent_subject and subject:
            raise UndecodableMessage(f"the payload is about {subject}, {SUBJECT} about {sent_subject}")
        if sequence != version and sequence is not None and version is not None:
            raise UndecodableMessage(f"the payload has version {version}, {SEQUENCE} {sequence}")
        return event

    def with_identity(self, message: Message[str]) -> Message[str]:
        """Return the message with subject and version of its event where its headers have none. A payload
        that cannot be read yet is left to the handler: middleware may have to fetch it."""
        if message.subject and message.sequence is not None:
            return message
        declaration = self._declarations[message.type]
        if not (declaration.has_id or declaration.has_version):
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
        except UndecodableMessage as error:
            raise UndecodableMessage(f"{error}{envelope_hint(message.payload, message.headers)}") from error
        except MessagingError:
            raise
        except Exception as error:
            raise UndecodableMessage(error_reason(error)) from error


_BUILT_IN = {Acknowledgement, BatchFailures, Delivery, Lease, Message}
"""Parameter types that the library provides itself."""


def _identity(declaration: EventDeclaration, event: object) -> tuple[str, int | None]:
    try:
        return declaration.id_of(event), declaration.version_of(event)
    except Exception as error:
        raise UndecodableMessage(error_text(error)) from error


def _full_name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else name_of(kind)
