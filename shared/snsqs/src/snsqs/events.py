"""In-process events: Spring's ApplicationEventPublisher and @EventListener, in asyncio.

A module publishes an event without knowing the listeners. They run in the publisher's transaction, in the
order of their registration; an error in one of them rolls the whole transaction back.

    @event_listener
    async def reserve_stock(event: OrderCompleted, tx: Transaction) -> None: ...

    publisher = ApplicationEventPublisher([reserve_stock, EventLog()])
    await publisher.publish(OrderCompleted(...), tx)
"""

import functools
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin, runtime_checkable

__all__ = [
    "ApplicationEventPublisher",
    "ApplicationListener",
    "EventCycle",
    "EventError",
    "Listener",
    "ListenerFunction",
    "NotAListener",
    "PublishingScope",
    "event_listener",
]


class EventError(Exception):
    """Root of the errors of in-process events: listeners that are registered wrongly."""


class NotAListener(EventError):
    """A registered object is neither marked `@event_listener` nor has `on_application_event`, or its event
    parameter is not annotated."""


class EventCycle(EventError):
    """Publishing an event led, through its listeners, to an event of the same type: an endless recursion.

    The message has the path of event types. Break the cycle: one of the listeners must not publish.
    """


class PublishingScope(Protocol):
    """Transaction in which events are published, such as `snsqs.postgres.Transaction`."""

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run the callback after the commit, and not at all after a rollback."""
        ...


@runtime_checkable
class ApplicationListener(Protocol):
    """A listener as an object, for the event type that annotates the first parameter of its method."""

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
    """Mark `async def listener(event: T, tx)`; T may be a union, and includes subclasses.

    Nothing is registered: pass the listeners to an ApplicationEventPublisher. With `after_commit` the
    listener runs after the publisher's transaction has committed, and not at all after a rollback; its
    error cannot undo the transaction and is raised to the caller that committed.
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

    def accepts(self, event: object) -> bool:
        return isinstance(event, self.event_types)


class ApplicationEventPublisher:
    """Calls the registered listeners of an event's type, one after the other.

    One per application: nothing is registered globally, so applications (and tests) in one process are
    independent. Safe to share between tasks. Raises NotAListener.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._registrations = [_register(listener) for listener in listeners]

    async def publish(self, event: object, tx: PublishingScope) -> None:
        """Publish an event; return after all listeners. Raises their errors, and EventCycle."""
        token = _chain.set(_chained(type(event)))
        try:
            for registration in self._registrations:
                if not registration.accepts(event):
                    continue
                if registration.after_commit:
                    tx.after_commit(functools.partial(registration.listener, event, tx))
                else:
                    await registration.listener(event, tx)
        finally:
            _chain.reset(token)


def _register(listener: Listener) -> _Registration:
    if isinstance(listener, ApplicationListener):
        return _Registration(listener.on_application_event, after_commit=False)
    mark = getattr(listener, _MARK, None)
    if mark is None:
        raise NotAListener(f"{_name(listener)} is not a listener: mark it with @event_listener")
    return _Registration(listener, mark.after_commit)


def _event_types(listener: ListenerFunction) -> tuple[type, ...]:
    parameters = list(inspect.signature(listener).parameters.values())
    hints = typing.get_type_hints(listener)
    annotation = hints.get(parameters[0].name) if parameters else None
    if annotation is None or len(parameters) != 2 or not _is_coroutine_function(listener, hints):
        raise NotAListener(
            f"{_name(listener)} must be `async def {_name(listener)}(event: SomeEvent, tx)`: "
            "the annotation of its first parameter is the event type"
        )
    members = _members(annotation)
    if others := [each for each in members if not _is_class(each)]:
        raise NotAListener(
            f"{_name(listener)} takes {', '.join(map(str, others))}, which is no class of events; annotate "
            "it with a class, or a union of classes"
        )
    return tuple(members)


def _is_class(member: Any) -> bool:
    """Return whether `isinstance` accepts it."""
    return isinstance(member, type) and member is not Any and not typing.is_typeddict(member)


def _is_coroutine_function(listener: ListenerFunction, hints: dict[str, Any]) -> bool:
    """Return whether the listener can be awaited. A decorator may return a `def` around an `async def`."""
    if inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(inspect.unwrap(listener)):
        return not inspect.isasyncgenfunction(listener)
    returned = get_origin(hints.get("return")) or hints.get("return")
    return isinstance(returned, type) and issubclass(returned, Awaitable)


def _members(annotation: Any) -> list[Any]:
    """Return the classes that an alias, a union or a generic class stands for."""
    alias = None if isinstance(annotation, type) else getattr(annotation, "__value__", None)
    if alias is not None:
        return _members(alias)
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [each for member in get_args(annotation) for each in _members(member)]
    is_container = getattr(origin, "__module__", "") in ("builtins", "collections.abc")
    return [annotation if origin is None or is_container else origin]


def _name(listener: object) -> str:
    return str(getattr(listener, "__qualname__", None) or type(listener).__qualname__)


def _chained(event_type: type) -> tuple[type, ...]:
    chain = (*_chain.get(), event_type)
    if event_type in chain[:-1]:
        path = " → ".join(each.__name__ for each in chain)
        raise EventCycle(f"these events publish each other endlessly: {path}")
    return chain
