"""MonitoredQueue: a queue whose failing calls appear in log, metrics and health of its listener."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from snsqs import _metrics
from snsqs._log_limit import LogLimit
from snsqs._queue import BatchOutcome, Queue, RawAttributes, Received
from snsqs._refusals import describe, is_refused
from snsqs.aws import UnexpectedResponse, transient_errors

log = logging.getLogger(__name__)

_POLL = "ReceiveMessage"

_EARLY_POLL_PAUSE = 1.0

_TRANSIENT_SECONDS = 60.0
"""Time for which a failure that may have passed is reported, if the call is not made again."""


@dataclass(frozen=True)
class _Failure:
    reason: str
    is_refusal: bool
    failed_at: float
    """Time of the event loop."""


class CallFailures:
    """Calls of a listener's queues that fail at present. One log line a minute for each."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._log_limit = LogLimit(log)

    @property
    def reason(self) -> str | None:
        """Reason of a call that fails at present, first of one that is refused; None if there is none."""
        if not self._failures:
            return None
        recent = asyncio.get_running_loop().time() - _TRANSIENT_SECONDS
        failures = [each for each in self._failures.values() if each.is_refusal or each.failed_at > recent]
        return max(failures, key=lambda each: each.is_refusal).reason if failures else None

    def failed(self, queue: str, action: str, error: BaseException) -> None:
        """Record that a call failed."""
        reason = f"SQS: {describe(error, queue)}"
        failure = _Failure(reason, is_refused(error), asyncio.get_running_loop().time())
        self._failures[queue, action] = failure
        _metrics.calls_failed[queue, action] += 1
        level = logging.ERROR if failure.is_refusal else logging.WARNING
        about = {"queue": queue, "action": action, "error": failure.reason}
        self._log_limit(level, "queue call failed", queue, action, extra=about)

    def succeeded(self, queue: str, action: str) -> None:
        """Record that a call succeeded."""
        if self._failures and self._failures.pop((queue, action), None) is not None:
            about = {"queue": queue, "action": action}
            self._log_limit(logging.INFO, "queue call succeeds again", queue, action, extra=about)

    def reconnected(self) -> None:
        """Forget the failures of a queue that was missing, except those of polls, which go on."""
        self._failures = {key: each for key, each in self._failures.items() if key[1] == _POLL}


class MonitoredQueue:
    """A Queue that records the outcome of its calls."""

    def __init__(self, queue: Queue, failures: CallFailures) -> None:
        self._queue = queue
        self._failures = failures
        self._early_polls = 0
        """Number of receive calls in a row that returned no message long before their wait time."""

    @property
    def name(self) -> str:
        return self._queue.name

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        with self._recording(_POLL):
            began = asyncio.get_running_loop().time()
            messages = await self._queue.receive(limit=limit, wait=wait, visibility=visibility)
            seconds = asyncio.get_running_loop().time() - began
            if messages or seconds > wait / 2:
                self._early_polls = 0
            else:
                await self._on_early_poll(seconds, wait)
            return messages

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        with self._recording("DeleteMessage"):
            return await self._queue.delete(handles)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        with self._recording("ChangeMessageVisibility"):
            return await self._queue.change_visibility(seconds)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        with self._recording("SendMessage"):
            return await self._queue.send(body, attributes, group=group, deduplication=deduplication)

    async def _on_early_poll(self, seconds: float, wait: int) -> None:
        """Raise UnexpectedResponse, because SQS returns no message only when the wait time is over. The first
        one is tolerated, after a pause."""
        self._early_polls += 1
        if self._early_polls > 1:
            raise UnexpectedResponse(
                f"{self._early_polls} receive calls returned no message before the wait time of {wait} s, "
                f"the last one after {seconds:.1f} s; check the endpoint"
            )
        await asyncio.sleep(_EARLY_POLL_PAUSE)

    @contextmanager
    def _recording(self, action: str) -> Iterator[None]:
        try:
            yield
        except transient_errors() as error:
            self._failures.failed(self.name, action, error)
            raise
        except asyncio.CancelledError:
            if action != _POLL:  # cancelled by the time limit of its caller
                self._failures.failed(self.name, action, TimeoutError("no response in time"))
            raise
        self._failures.succeeded(self.name, action)
