"""RunningHandlers: the handlers that run at present, and the reasons why they hold up a listener."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from snsqs._lease import Lease
from snsqs._options import ListenerOptions

log = logging.getLogger(__name__)

_STUCK_AFTER = 15 * 60.0
"""Seconds that all handlers have to run before that is reported, if they have no time limit."""

_OVERDUE_AFTER = 1.0
"""Seconds from the cancellation of a handler until it is reported as ignoring it."""

_REPORT_TIME = 5 * 60.0
"""Seconds that an incident is part of a listener's health."""

_MAX_INCIDENTS = 3

_CHECK_INTERVAL = 5.0

_BLOCKED_AFTER = 5.0
"""Seconds that the event loop is blocked before that is reported. Leases are extended at half time."""


@dataclass(eq=False)
class RunningHandler:
    """One call of a handler. Times are those of the event loop."""

    name: str
    leases: Sequence[Lease]
    began_at: float = 0.0
    """Begin of the present attempt."""
    waits_for: str | None = None
    """The dependency that is unavailable, while the call waits for its next attempt."""

    def begin(self) -> None:
        """Begin an attempt."""
        self.began_at, self.waits_for = asyncio.get_running_loop().time(), None


class RunningHandlers:
    """Handlers that run at present, at most `max_concurrency`."""

    def __init__(self, queue: str, options: ListenerOptions) -> None:
        self._queue = queue
        self._limit = options.max_concurrency
        self._timeout = options.handler_timeout
        self._running: set[RunningHandler] = set()
        self._incidents: dict[str, float] = {}
        """Times until which incidents are reported, the latest last."""
        self._time = asyncio.get_running_loop().time

    def add(self, name: str, leases: Sequence[Lease]) -> RunningHandler:
        """Add a call."""
        running = RunningHandler(name, leases)
        self._running.add(running)
        return running

    def remove(self, running: RunningHandler) -> None:
        """Remove a call that has ended."""
        self._running.discard(running)

    def report(self, incident: str) -> None:
        """Report something that must not remain unnoticed, for the next five minutes."""
        self._incidents.pop(incident, None)
        self._incidents[incident] = self._time() + _REPORT_TIME
        if len(self._incidents) > _MAX_INCIDENTS:
            del self._incidents[next(iter(self._incidents))]

    @property
    def degraded_reason(self) -> str | None:
        """Reason why messages are handled late or not at all, or None."""
        return self._stuck or self._overdue or self._waiting or self._recent

    async def keep_checking(self) -> None:
        """Log when handlers do not end, once until they do, and when the event loop was blocked."""
        reported = None
        while True:
            due_at = self._time() + _CHECK_INTERVAL
            await asyncio.sleep(_CHECK_INTERVAL)
            self._check_event_loop(self._time() - due_at)
            reason = self._stuck or self._overdue
            if reason is not None and reported is None:
                log.error("handlers do not end", extra={"queue": self._queue, "reason": reason})
            reported = reason

    def _check_event_loop(self, late: float) -> None:
        if late < _BLOCKED_AFTER:
            return
        log.error("event loop blocked", extra={"queue": self._queue, "seconds": round(late, 1)})
        self.report(f"the event loop was blocked for {late:.1f} s; declare handlers that block with `def`")

    @property
    def _stuck(self) -> str | None:
        limit = self._timeout or _STUCK_AFTER
        latest = max((running.began_at for running in self._running), default=0.0)
        if len(self._running) < self._limit or self._time() - latest < limit + _OVERDUE_AFTER:
            return None
        remedy = "" if self._timeout else "; set ListenerOptions.handler_timeout"
        names = self._names(self._running)
        return f"no message is received: all {self._limit} handlers have run for {limit:g} s: {names}{remedy}"

    @property
    def _overdue(self) -> str | None:
        overdue = [running for running in self._running if self._is_overdue(running)]
        if not overdue:
            return None
        names = self._names(overdue)
        return f"{len(overdue)} of {self._limit} handlers run on after their cancellation: {names}"

    @property
    def _waiting(self) -> str | None:
        waiting = [running for running in self._running if running.waits_for is not None]
        if not waiting:
            return None
        return f"{len(waiting)} of {self._limit} handlers wait for a dependency: {waiting[0].waits_for}"

    @property
    def _recent(self) -> str | None:
        now = self._time()
        return "; ".join(incident for incident, end in self._incidents.items() if now < end) or None

    def _is_overdue(self, running: RunningHandler) -> bool:
        if running.waits_for is not None:
            return False
        now = self._time()
        if self._timeout is not None and now > running.began_at + self._timeout + _OVERDUE_AFTER:
            return True
        ends = (lease.deadline for lease in running.leases if not lease.is_detached)
        return any(now > end + _OVERDUE_AFTER for end in ends)

    @staticmethod
    def _names(handlers: Sequence[RunningHandler] | set[RunningHandler]) -> str:
        return ", ".join(sorted({running.name for running in handlers}))
