"""Signature of a handler: the types of its parameters, validated before the first message arrives."""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from snsqs._acknowledgement import Acknowledgement
from snsqs._batch_failures import BatchFailures
from snsqs._errors import ListenerMisconfigured
from snsqs._event import declaration_of
from snsqs._lease import Lease
from snsqs._message import Message


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a handler, with the type that its annotation stands for."""

    name: str
    kind: Any
    is_keyword: bool

    @property
    def is_batch(self) -> bool:
        return _is_batch(self.kind)

    @property
    def event_types(self) -> list[Any]:
        """Event types of the parameter; several of a union, none of a resource."""
        return [member for member in _members(self.kind) if declaration_of(member) is not None]

    @property
    def origin(self) -> Any:
        """The type without its arguments, such as Message of `Message[str]`."""
        return get_origin(self.kind) or self.kind

    @property
    def type_name(self) -> str:
        return self.kind.__qualname__ if isinstance(self.kind, type) else str(self.kind)


class HandlerSignature:
    """Parameters of a handler function. Raises ListenerMisconfigured, with the name of the handler, for a
    function that cannot be called with the events that its annotations name."""

    def __init__(self, function: Callable[..., object], handler: str) -> None:
        self._handler = handler
        self._reject_generator(function)
        hints = self._hints(function)
        self.parameters = [
            self._parameter(each, hints) for each in inspect.signature(function).parameters.values()
        ]
        self.runs_in_thread = _runs_in_thread(function, hints)
        self._validate_events()
        self._validate_built_in_types()
        if self.runs_in_thread:
            self._validate_thread_use()

    @property
    def event_types(self) -> list[Any]:
        return [event for each in self.parameters for event in each.event_types]

    @property
    def takes_batches(self) -> bool:
        return any(each.is_batch for each in self.parameters)

    def takes(self, kind: Any) -> bool:
        """Return whether a parameter has this type."""
        return any(each.kind is kind for each in self.parameters)

    def _reject_generator(self, function: Callable[..., object]) -> None:
        for each in (function, inspect.unwrap(function)):
            if inspect.isasyncgenfunction(each) or inspect.isgeneratorfunction(each):
                self._reject("is a generator, whose body would never run; remove `yield`")

    def _hints(self, function: Callable[..., object]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(function, include_extras=True)
        except Exception as error:
            raise ListenerMisconfigured(
                f"{self._handler}: its annotations cannot be resolved: {error}"
            ) from error

    def _parameter(self, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
        if parameter.name not in hints:
            self._reject(f"has no annotation of {parameter.name}; parameters are filled by type")
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            self._reject(f"takes {parameter}, which has no single type; name its parameters")
        kind = _without_metadata(hints[parameter.name])
        return Parameter(parameter.name, kind, parameter.kind is parameter.KEYWORD_ONLY)

    def _validate_events(self) -> None:
        with_events = [each for each in self.parameters if each.event_types]
        if not with_events:
            self._reject(
                "takes no event: annotate a parameter with a DomainEvent or a class that is declared with "
                "@event, with a union of them, or with a list of these for a batch"
            )
        if len(with_events) > 1:
            self._reject("takes several events; for several types, use a union")
        [parameter] = with_events
        if others := [each for each in _members(parameter.kind) if declaration_of(each) is None]:
            self._reject(f"takes a union of events with other members: {others}; remove them")

    def _validate_built_in_types(self) -> None:
        for each in self.parameters:
            if _is_union(each.kind) and not each.event_types:
                self._reject(
                    f"takes {each.name} of type {each.type_name}, but a parameter is always filled; annotate "
                    "it with one type"
                )
            if each.origin is Message and get_args(each.kind) not in ((), (str,), (Any,)):
                self._reject(
                    f"takes {each.name} of type {each.type_name}, but a payload is text; annotate it with "
                    "Message[str], and another parameter with the event"
                )
        if self.takes_batches and self.takes(Lease):
            self._reject("takes a batch, which has no single Lease")
        if self.takes(BatchFailures):
            if not self.takes_batches:
                self._reject("takes BatchFailures, but no batch; raise the error, or take a list of events")
            if self.takes(Acknowledgement):
                self._reject(
                    "takes BatchFailures and Acknowledgement, which acknowledges the whole batch; take one "
                    "of them"
                )

    def _validate_thread_use(self) -> None:
        for each in self.parameters:
            if _belongs_to_event_loop(each.kind):
                self._reject(
                    f"takes {each.name} of type {each.type_name}, which belongs to the event loop, but a "
                    "`def` handler runs in a thread; declare the handler with `async def`"
                )

    def _reject(self, reason: str) -> typing.NoReturn:
        raise ListenerMisconfigured(f"{self._handler} {reason}")


def _runs_in_thread(function: Callable[..., object], hints: Mapping[str, Any]) -> bool:
    """Return whether it is a `def` function. A decorator may return one that calls a coroutine function."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inspect.unwrap(function)):
        return False
    returned = get_origin(hints.get("return")) or hints.get("return")
    return not (isinstance(returned, type) and issubclass(returned, Awaitable))


def _belongs_to_event_loop(kind: Any) -> bool:
    """Return whether objects of a parameter type cannot be used from a thread. A type declares it by a
    class attribute `belongs_to_event_loop`; other asynchronous clients are recognised as context managers."""
    is_async_only = hasattr(kind, "__aenter__") and not hasattr(kind, "__enter__")
    return kind is Acknowledgement or is_async_only or getattr(kind, "belongs_to_event_loop", False)


def _is_batch(kind: Any) -> bool:
    return get_origin(kind) in (list, Sequence)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _members(kind: Any) -> Sequence[Any]:
    """Return the type, the members of a union, or those of the elements of a batch."""
    return _union_members(_without_metadata(get_args(kind)[0]) if _is_batch(kind) else kind)


def _union_members(kind: Any) -> Sequence[Any]:
    if _is_union(kind):
        return [each for member in get_args(kind) for each in _union_members(_without_metadata(member))]
    return (kind,)


def _without_metadata(kind: Any) -> Any:
    """Return the type that an alias or an Annotated type stands for, unless that is declared as an event."""
    if get_origin(kind) is Annotated and declaration_of(kind) is None:
        return _without_metadata(get_args(kind)[0])
    # Of the statement `type`, also on Python 3.11 by way of typing_extensions.
    alias = None if isinstance(kind, type) else getattr(kind, "__value__", None)
    return kind if alias is None else _without_metadata(alias)
