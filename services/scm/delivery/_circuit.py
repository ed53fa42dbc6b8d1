"""Circuit: a service that does not answer is not asked for a while."""

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
    "Whether a service is asked: only while its circuit is closed, or to see whether it can be closed.",
    ["service"],
    states=[CLOSED, HALF_OPENED, OPENED],
)


class Circuit:
    """A circuit breaker around the calls to one service. Safe to share.

    Closed, it lets calls through. When five in a row raised `Unavailable` it opens: for three seconds every
    call is `Unavailable` at once, so that no transaction is held open to wait for nothing. Then it is half
    open, and the next call closes it or opens it again. Whatever else a call raises is an answer.

    After "Circuit Breaker" (Nygard, Release It!).
    """

    def __init__(self, service: str, *, failures: int = 5, opened_for: float = 3.0) -> None:
        self.degraded_reason: str | None = None
        """Why the service is not asked just now, or None while all is well."""
        self._service = service
        self._opened_for = opened_for
        self._breakers = AsyncCircuitBreakerFactory(
            failures, opened_for, exclude=[(BaseException, lambda error: not isinstance(error, Unavailable))]
        )
        self._breakers.add_listener(self._hear)
        _STATE.labels(service).state(CLOSED)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Its body is one call. Raises Unavailable, instead of running it, while the circuit is open."""
        breaker = await self._breakers.get_breaker(self._service)
        try:
            async with breaker:
                yield
        except OpenedState as error:
            error.with_traceback(None)  # it is the same object each time, whose traceback only grows
            raise Unavailable(f"{self._service} is not asked: it did not answer") from None

    def _hear(self, _: str, __: str, event: Event) -> None:
        if not isinstance(event, ContextChanged):
            return
        _STATE.labels(self._service).state(event.state)
        if event.state == CLOSED:
            self.degraded_reason = None
            log.info("circuit closed", service=self._service)
        elif event.state == OPENED:
            self.degraded_reason = "did not answer, and is not asked for a while"
            log.warning("circuit opened", service=self._service, asked_again_in=self._opened_for)
