"""Circuit breaker: calls to a service that does not answer fail at once for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Enum
from purgatory import AsyncCircuitBreakerFactory, ContextChanged
from purgatory.domain.messages import Event
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, OpenedState
from snsqs import Unavailable

log = structlog.get_logger(__name__)

_STATE = Enum(
    "circuit",
    "State of the circuit breaker of a service: calls pass only while it is closed or half-open.",
    ["service"],
    states=[CLOSED, HALF_OPENED, OPENED],
)


class Circuit:
    """Circuit breaker around the calls to one service. Safe to share between tasks.

    Closed, it lets calls pass. After `failures` calls in a row that raised `Unavailable` it opens: for
    `open_seconds` every call raises `Unavailable` at once, so that no transaction stays open to wait in vain.
    Then it is half-open: the next call closes or opens it again. Any other exception counts as an answer.

    After "Circuit Breaker" (Nygard, Release It!).
    """

    def __init__(self, service: str, *, failures: int = 5, open_seconds: float = 3.0) -> None:
        self.degraded_reason: str | None = None
        """Reason while the circuit is open, otherwise None."""
        self._service = service
        self._open_seconds = open_seconds
        self._breakers = AsyncCircuitBreakerFactory(
            failures,
            open_seconds,
            exclude=[(BaseException, lambda error: not isinstance(error, Unavailable))],
        )
        self._breakers.add_listener(self._on_event)
        _STATE.labels(service).state(CLOSED)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Context of one call. Raises Unavailable, without running its body, while the circuit is open."""
        breaker = await self._breakers.get_breaker(self._service)
        try:
            async with breaker:
                yield
        except OpenedState as error:
            error.with_traceback(None)  # one shared object, whose traceback would grow
            raise Unavailable(
                f"{self._service} did not answer; retried within {self._open_seconds:g} s"
            ) from None

    def _on_event(self, _: str, __: str, event: Event) -> None:
        if not isinstance(event, ContextChanged):
            return
        _STATE.labels(self._service).state(event.state)
        if event.state == CLOSED:
            self.degraded_reason = None
            log.info("circuit closed", service=self._service)
        elif event.state == OPENED:
            self.degraded_reason = "circuit open: did not answer"
            log.warning("circuit opened", service=self._service, retry_in=self._open_seconds)
