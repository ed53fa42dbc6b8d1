"""Background loops: polling with early wake-up, and backoff while a dependency is unavailable."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from snsqs._errors import error_reason, error_text
from snsqs._log_limit import LogLimit
from snsqs.backoff import full_jitter

__all__ = [
    "PollingLoop",
    "error_reason",
    "wait_for_event",
]

log = logging.getLogger(__name__)

MIN_INTERVAL = 0.001
"""Seconds; a loop without a pause would leave no time to others."""

_MIN_BACKOFF = 0.5
"""Seconds; full jitter alone could retry at once, again and again."""


async def wait_for_event(event: asyncio.Event, timeout: float) -> bool:
    """Wait until the event is set, for at most `timeout` seconds. Return whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
    return event.is_set()


class PollingLoop:
    """Calls `work` until the loop is stopped.

    While `work` returns true, it is called again at once; otherwise after `interval` seconds, or as soon as
    the `wake` event is set. An error of one of the types in `retry_on` is logged, once a minute, and retried
    with exponential backoff and full jitter, up to `max_backoff` seconds. Any other error ends `run`: it is a
    defect.

    Raises ValueError for times that are not above 0.

    Use it as it is, or derive from it and pass one of the subclass's methods, as with `threading.Thread`.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool | None]],
        *,
        interval: float,
        retry_on: tuple[type[Exception], ...],
        max_backoff: float,
        wake: asyncio.Event | None = None,
        wake_ends_backoff: bool = False,
    ) -> None:
        """
        Args:
            name: the loop's name in log lines.
            work: one round. It may return true to be called again at once, and should check `stopping` when
                it takes longer than a few seconds.
            interval: seconds between rounds.
            retry_on: errors of a dependency that is unavailable.
            max_backoff: longest wait after such an error, in seconds.
            wake: set by others to start a round early; cleared before each round.
            wake_ends_backoff: let `wake` also end the wait after an error. By default only the time ends it,
                so that frequent signals cannot overload a dependency that recovers.
        """
        for option, seconds in (("interval", interval), ("max_backoff", max_backoff)):
            if not MIN_INTERVAL <= seconds < math.inf:
                raise ValueError(f"PollingLoop {name}: {option} is {seconds!r}; set seconds above 0")
        self.name = name
        self.stopping = asyncio.Event()
        """Set by `stop`."""
        self._work = work
        self._interval = interval
        self._retry_on = retry_on
        self._max_backoff = max_backoff
        self._wake = wake or asyncio.Event()
        self._wake_ends_backoff = wake_ends_backoff
        self._error: str | None = None
        self._log_limit = LogLimit(log)

    @property
    def degraded_reason(self) -> str | None:
        """The error that the loop backs off from, or None."""
        return self._error

    def stop(self) -> None:
        """Start no further round; `run` returns after the current one."""
        self.stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop` is called. Raises what `work` raises, except the errors in `retry_on`."""
        failures = 0
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                has_more = await self._work()
            except self._retry_on as error:
                failures += 1
                await self._back_off(error, failures)
            else:
                failures, self._error = 0, None
                if not has_more:
                    await wait_for_event(self._wake, self._interval)

    async def _back_off(self, error: Exception, failures: int) -> None:
        floor = min(_MIN_BACKOFF, self._max_backoff)
        pause = full_jitter(failures, base=1, cap=self._max_backoff, floor=floor)
        self._error = error_text(error) or type(error).__name__
        about = {"error": self._error, "retry_in": round(pause, 1)}
        self._log_limit(logging.WARNING, f"{self.name} waits", extra=about)
        await wait_for_event(self._wake if self._wake_ends_backoff else self.stopping, pause)
