"""ListenerOptions: concurrency, retries and timeouts of a listener, and their validation."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from snsqs._acknowledgement import Acknowledgement
from snsqs._arguments import require_instance
from snsqs._errors import MAX_VISIBILITY, ListenerMisconfigured
from snsqs._outcome import OutcomeObserver
from snsqs._queue import MAX_BATCH_SIZE
from snsqs._ranges import reject, require_integer, require_seconds
from snsqs.aws import POLL_TIMEOUT

if TYPE_CHECKING:
    from snsqs._binding import Binding

Policy = Literal["dead-letter", "ignore", "fail"]

_MAX_POLL_TIMEOUT = 20


@dataclass(frozen=True)
class ListenerOptions:
    """Options of a listener; times are seconds. Raises ListenerMisconfigured for values that cannot work."""

    max_concurrency: int = 10
    """Handlers that run at the same time."""
    max_pollers: int = 4
    """Concurrent receive calls under load; an idle listener has one."""
    poll_timeout: int = POLL_TIMEOUT
    """Time that a receive call waits for a message (long polling), 1 to 20."""
    max_messages_per_poll: int = MAX_BATCH_SIZE
    """Messages that a receive call returns at most, from 1 to 10, for example to bound the memory of large
    ones. Fewer are requested where more could not start soon."""
    max_poll_backoff: float = 10.0
    """Longest wait after a receive call that failed."""
    min_backoff: float = 2.0
    """Longest wait before the second receive of a message that failed; doubles with each receive."""
    max_backoff: float = 15 * 60
    """Longest wait before any receive of a message that failed."""
    backoff: Callable[[int], float] | None = None
    """Wait before the next receive of a message that failed, as a function of its receive count (1, 2, …),
    in place of `min_backoff` and `max_backoff`. The result is limited to 0 to 43,200 (12 h)."""
    handler_timeout: float | None = None
    """Time limit of a handler, its middleware included. After that it is cancelled, and its message fails
    with `HandlerTimedOut`. The thread of a `def` handler cannot be cancelled: see `sqs_listener`."""
    max_lease_extension: float | None = None
    """Time from the receive of a message to the end of its lease, which is not extended further; then its
    handler is cancelled, and the queue delivers the message again. None is the limit of SQS, 12 h."""
    max_unavailable: float = 5 * 60
    """Time for which a message is kept and tried again while its handler raises `Unavailable`. After that it
    has failed, like with any other error."""
    manual_ack: bool = False
    """Delete messages only if their handler calls `Acknowledgement.acknowledge`; returning is not enough.
    Each handler needs a parameter of that type."""
    unknown_types: Policy = "dead-letter"
    """Treatment of a message whose type has no handler: `ignore` deletes it, `fail` retries it, for a queue
    whose consumers are not all of the same version."""
    untyped: Policy = "dead-letter"
    """Treatment of a message without a type, if there is no `default_type`; as `unknown_types`."""
    default_type: str | None = None
    """Type of a message without one; a type that a handler takes."""
    shutdown_timeout: float = 12.0
    """Time after which running handlers are cancelled when the listener stops. Acknowledging and requeueing
    have six seconds more, so that a listener stops within twenty."""

    def __post_init__(self) -> None:
        self._require_integer("max_concurrency", minimum=1)
        self._require_integer("max_pollers", minimum=1)
        self._require_integer("poll_timeout", minimum=1, maximum=_MAX_POLL_TIMEOUT)
        self._require_integer("max_messages_per_poll", minimum=1, maximum=MAX_BATCH_SIZE)
        for name in ("min_backoff", "max_backoff"):
            self._require_seconds(name, maximum=MAX_VISIBILITY)
        for name in ("max_poll_backoff", "max_unavailable", "shutdown_timeout"):
            self._require_seconds(name)
        for name, maximum in (("handler_timeout", math.inf), ("max_lease_extension", MAX_VISIBILITY)):
            if getattr(self, name) is not None:
                self._require_seconds(name, minimum=1e-3, maximum=maximum)
        self._require_choice("manual_ack", (True, False))
        for name in ("unknown_types", "untyped"):
            self._require_choice(name, get_args(Policy))
        self._validate_backoff()

    def _validate_backoff(self) -> None:
        if self.backoff is None:
            if self.min_backoff > self.max_backoff:
                self._reject("min_backoff", f"set at most max_backoff, {self.max_backoff}")
            return
        function: object = self.backoff
        if not callable(function) or inspect.iscoroutinefunction(function):
            self._reject("backoff", "set a function of the receive count that returns seconds")
        for name in ("min_backoff", "max_backoff"):
            if name in changed_options(self):
                self._reject(name, "leave it unset, because `backoff` replaces it")

    def _require_integer(self, name: str, *, minimum: int, maximum: float = math.inf) -> None:
        require_integer(self, name, minimum=minimum, maximum=maximum, error=ListenerMisconfigured)

    def _require_seconds(self, name: str, *, minimum: float = 0, maximum: float = math.inf) -> None:
        require_seconds(self, name, minimum=minimum, maximum=maximum, error=ListenerMisconfigured)

    def _require_choice(self, name: str, choices: tuple[object, ...]) -> None:
        if getattr(self, name) not in choices:
            self._reject(name, f"set {' or '.join(map(repr, choices))}")

    def _reject(self, name: str, remedy: str) -> None:
        reject(self, name, remedy, error=ListenerMisconfigured)


def changed_options(options: ListenerOptions) -> list[str]:
    """Return the names of the options that differ from their defaults."""
    return [each.name for each in fields(options) if getattr(options, each.name) != each.default]


def validate_observer(observer: OutcomeObserver | None) -> None:
    """Raise ListenerMisconfigured for an observer that cannot be called, or without an effect."""
    if observer is not None and not callable(observer):
        raise ListenerMisconfigured(f"the observer is {observer!r}; set a function of a MessageOutcome")
    if inspect.iscoroutinefunction(observer):
        raise ListenerMisconfigured(
            f"the observer {observer.__qualname__} is a coroutine function, whose body would never run; "
            "declare it with `def`"
        )


def validate_options(binding: "Binding", options: ListenerOptions) -> None:
    """Raise ListenerMisconfigured for options that do not fit the handlers of a binding."""
    require_instance(options, ListenerOptions, f"{binding.queue}: options")
    if options.default_type is not None:
        _validate_default_type(binding, options)
    if options.manual_ack:
        for handler in binding.handlers.values():
            if not handler.takes(Acknowledgement):
                raise ListenerMisconfigured(
                    f"{handler.name}: manual_ack is True, but no parameter has the type Acknowledgement, so "
                    "its messages would never be acknowledged; add the parameter, or leave manual_ack unset"
                )


def _validate_default_type(binding: "Binding", options: ListenerOptions) -> None:
    if options.untyped != "dead-letter":
        raise ListenerMisconfigured(
            f"{binding.queue}: untyped={options.untyped!r} has no effect with "
            f"default_type={options.default_type!r}; set one of them"
        )
    if options.default_type not in binding.handlers:
        raise ListenerMisconfigured(
            f"{binding.queue}: default_type={options.default_type!r} has no handler; the handlers take "
            f"{', '.join(binding.event_types)}"
        )
