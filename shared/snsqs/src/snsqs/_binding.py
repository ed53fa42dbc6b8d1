"""`@sqs_listener` marks functions as handlers; a Binding has those of one queue."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from snsqs._address import is_name, parse_address, queue_name
from snsqs._arguments import require_converter, require_instance
from snsqs._converter import JSON_CONVERTER, MessageConverter
from snsqs._errors import (
    ListenerMisconfigured,
    UnknownType,
)
from snsqs._handler import HandlerFunction, HandlerMethod
from snsqs._message import Message
from snsqs._names import address_errors
from snsqs._options import ListenerOptions, validate_options
from snsqs._queue import is_fifo
from snsqs._settings import QueueSettings

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
    options: ListenerOptions | None = None


def sqs_listener(
    queue: str | Sequence[str],
    *,
    topic: str | Sequence[str] | None = None,
    converter: MessageConverter | None = None,
    settings: QueueSettings | None = None,
    options: ListenerOptions | None = None,
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
    are those of the queue and `options` those of its listener; one of its handlers has them, or several have
    the same.

    The decorator registers nothing; an application passes its functions to `bindings()`.
    """
    queues = _names(queue, "queue", "set a name, URL or ARN, or several of them")
    remedy = "set a name or ARN, or several of them, or leave it unset for a work queue"
    topics = () if topic is None else _names(topic, "topic", remedy)
    require_converter(converter, "@sqs_listener: converter")
    require_instance(settings, QueueSettings, "@sqs_listener: settings")
    require_instance(options, ListenerOptions, "@sqs_listener: options")

    def mark(function: F) -> F:
        if not inspect.isroutine(function) or isinstance(function, staticmethod | classmethod):
            raise ListenerMisconfigured(
                f"@sqs_listener marks functions and methods, not {function!r}; declare a function that "
                "calls it"
            )
        marks = [_Mark(each, topics, converter, settings, options) for each in queues]
        setattr(function, _MARK, (*marks, *getattr(function, _MARK, ())))
        return function

    return mark


def _names(names: object, argument: str, remedy: str) -> tuple[str, ...]:
    listed = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else ()
    if not listed or not all(isinstance(each, str) and each for each in listed):
        raise ListenerMisconfigured(f"@sqs_listener: {argument} is {names!r}; {remedy}")
    return listed


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
    options: ListenerOptions | None = None
    """Options of the listener; None: the defaults."""
    queue_address: str = ""
    """URL or ARN of the queue, if it is given by one; `queue` is its name."""

    def __post_init__(self) -> None:
        queue = self.queue_address or self.queue
        for error in address_errors(queue, self.dead_letter_queue, self.topics):
            handlers = ", ".join(sorted({handler.name for handler in self.handlers.values()}))
            raise ListenerMisconfigured(f"{handlers}: {error}")
        if self.options is not None:
            validate_options(self, self.options)

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
    options: Mapping[str, ListenerOptions] | None = None,
    rename: Callable[[str], str] | None = None,
    converter: MessageConverter | None = None,
) -> list[Binding]:
    """Return one Binding for each queue that the marked functions name. Raises ListenerMisconfigured.

    The bindings are accepted wherever functions are; bindings among `handlers` are returned with the
    settings, options and names that are given here.

    Args:
        settings: settings by queue, as it is declared; they take precedence over those of `@sqs_listener`.
        options: options of the listeners by queue, in place of those of `@sqs_listener`.
        rename: maps the declared names of queues, dead-letter queues and topics to the names, URLs or ARNs
            of an environment.
        converter: converter of the functions' queues for which `@sqs_listener` names none, in place of
            JsonConverter.
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
    settings, options, rename = settings or {}, options or {}, rename or _unchanged
    for argument, by_queue in {"settings": settings, "options": options}.items():
        if unknown := sorted(by_queue.keys() - declared):
            raise ListenerMisconfigured(
                f"{argument} name {', '.join(unknown)}, for which there is no handler; the queues are "
                f"{', '.join(declared)}"
            )
    require_converter(converter, "converter")
    for queue in declared:
        require_instance(settings.get(queue), QueueSettings, f"settings of {queue}")
        require_instance(options.get(queue), ListenerOptions, f"options of {queue}")
    configured = {}
    for queue, binding in bound.items():
        chosen = settings.get(queue, QueueSettings()).or_else(binding.settings)
        binding = replace(binding, settings=chosen, options=options.get(queue, binding.options))
        configured[queue] = binding.renamed(rename)
    for queue, on_queue in marked.items():
        chosen = settings.get(queue, QueueSettings())
        configured[queue] = _binding(
            queue, on_queue, chosen, options.get(queue), rename, converter or JSON_CONVERTER
        )
    _validate_distinct({queue: each.queue for queue, each in configured.items()})
    return list(configured.values())


def _unchanged(name: str) -> str:
    return name


def _resources(
    queue: str, topics: Mapping[str, Sequence[str]], settings: QueueSettings, rename: Callable[[str], str]
) -> dict[str, Any]:
    """Return the fields of a Binding that name resources, with their new names."""
    dead_letters = settings.dead_letter_queue
    rename = _validated(rename)
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


def _validated(rename: Callable[[str], str]) -> Callable[[str], str]:
    """Return the function with an error for a result that is no name."""

    def renamed(name: str) -> str:
        new: object = rename(name)
        if not isinstance(new, str):
            raise ListenerMisconfigured(f"rename({name!r}) returns {new!r}; return a name, URL or ARN")
        return new

    return renamed


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
    options: ListenerOptions | None,
    rename: Callable[[str], str],
    default: MessageConverter,
) -> Binding:
    options = options or _only(queue, "options", [mark.options for mark, _ in marked])
    converter = _only(queue, "converters", [mark.converter for mark, _ in marked]) or default
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
    resources = _resources(queue, by_topic, settings, rename)
    return Binding(handlers=handlers, converter=converter, options=options, **resources)


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
