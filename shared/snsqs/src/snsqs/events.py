"""In-process events: Spring's ApplicationEventPublisher and @EventListener, in asyncio.

A module says what happened and does not know who listens. Listeners run in the publisher's
transaction, in the order of their registration; what a listener raises rolls the whole command back.

    @event_listener
    async def reserve_stock(event: OrderCompleted, tx: Transaction) -> None: ...

    publisher = ApplicationEventPublisher([reserve_stock, EventLog()])
    await publisher.publish(OrderCompleted(...), tx)
"""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin, runtime_checkable


class EventError(Exception):
    """Something is wrong with how in-process events are wired. The message says what and where."""


class NotAListener(EventError):
    """What was registered is neither a function marked `@event_listener` nor has `on_application_event`."""


class EventCycle(EventError):
    """A listener led, by way of others, to the same event type again; it would never end.

    Break the circle: let one of the listeners named in the message not publish.
    """


class PublishingScope(Protocol):
    """What a publisher needs of a transaction: a place for what has to wait for its commit."""

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None: ...


@runtime_checkable
class ApplicationListener(Protocol):
    """A listener as an object. It hears the event type that `on_application_event` is annotated with."""

    @property
    def on_application_event(self) -> Callable[[Any, Any], Awaitable[None]]: ...


ListenerFunction = Callable[[Any, Any], Awaitable[None]]
Listener = ListenerFunction | ApplicationListener
F = TypeVar("F", bound=ListenerFunction)

_MARK = "__event_listener__"
_chain: ContextVar[tuple[type, ...]] = ContextVar("publishing", default=())


class _Mark:
    def __init__(self, after_commit: bool) -> None:
        self.after_commit = after_commit


@typing.overload
def event_listener(function: F) -> F: ...
@typing.overload
def event_listener(*, after_commit: bool = False) -> Callable[[F], F]: ...
def event_listener(function: F | None = None, *, after_commit: bool = False) -> F | Callable[[F], F]:
    """Marks `async def listener(event: T, tx)`; T may be a union, and subclasses of T are heard too.

    It registers nothing: the application hands its listeners to an ApplicationEventPublisher.
    With `after_commit` it runs once the publisher's transaction is committed, and not at all when that
    is rolled back; an error in it can no longer undo the command, it is raised to the committing caller.
    """

    def mark(listener: F) -> F:
        setattr(listener, _MARK, _Mark(after_commit))
        return listener

    return mark if function is None else mark(function)


class _Registration:
    def __init__(self, listener: ListenerFunction, after_commit: bool) -> None:
        self.listener = listener
        self.after_commit = after_commit
        self.event_types = _event_types(listener)

    def hears(self, event: object) -> bool:
        return isinstance(event, self.event_types)


class ApplicationEventPublisher:
    """Hands an event to every registered listener of its type, one after the other.

    Made once per application; nothing is registered globally, so two applications (or two tests) in one
    process never hear each other. Safe to share between tasks.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._registrations = [_register(listener) for listener in listeners]

    async def publish(self, event: object, tx: PublishingScope) -> None:
        """Returns when all listeners are done; raises what a listener raised, and EventCycle."""
        token = _chain.set(_chained(type(event)))
        try:
            for registration in self._registrations:
                if not registration.hears(event):
                    continue
                if registration.after_commit:
                    tx.after_commit(_later(registration.listener, event, tx))
                else:
                    await registration.listener(event, tx)
        finally:
            _chain.reset(token)


def _later(listener: ListenerFunction, event: object, tx: PublishingScope) -> Callable[[], Awaitable[None]]:
    return lambda: listener(event, tx)


def _register(listener: Listener) -> _Registration:
    if isinstance(listener, ApplicationListener):
        return _Registration(listener.on_application_event, after_commit=False)
    mark = getattr(listener, _MARK, None)
    if mark is None:
        raise NotAListener(f"{_name(listener)} is not a listener: mark it with @event_listener")
    return _Registration(listener, mark.after_commit)


def _event_types(listener: ListenerFunction) -> tuple[type, ...]:
    parameters = list(inspect.signature(listener).parameters.values())
    annotation = typing.get_type_hints(listener).get(parameters[0].name) if parameters else None
    if annotation is None or len(parameters) != 2:
        raise NotAListener(
            f"{_name(listener)} must be `async def {_name(listener)}(event: SomeEvent, tx)`: "
            "the annotation of its first parameter names the event that it hears"
        )
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return tuple(get_origin(member) or member for member in members)


def _name(listener: object) -> str:
    return str(getattr(listener, "__qualname__", None) or type(listener).__qualname__)


def _chained(event_type: type) -> tuple[type, ...]:
    chain = (*_chain.get(), event_type)
    if event_type in chain[:-1]:
        path = " → ".join(each.__name__ for each in chain)
        raise EventCycle(f"these events lead to each other without end: {path}")
    return chain
