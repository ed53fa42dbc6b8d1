"""Acknowledger: deletes handled messages in batches of ten."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from snsqs._lease import Lease, LeaseKeeper
from snsqs._log_limit import LogLimit
from snsqs._queue import MAX_BATCH_SIZE, Queue
from snsqs.aws import transient_errors
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)

_MIN_RETRY_DELAY, _MAX_RETRY_DELAY = 1.0, 10.0
_MAX_FAILURES = 3
"""Calls in a row after which messages are no longer received."""
_MAX_KNOWN = 10_000
_FLUSH_TIMEOUT = 3.0


class Acknowledgement:
    """Parameter of a handler for manual acknowledgement (`ListenerOptions.manual_ack`).

        async def handle(event: OrderCompleted, acknowledgement: Acknowledgement) -> None:
            ...
            await acknowledgement.acknowledge()

    A message that was not acknowledged when its handler returned is delivered again after its visibility
    timeout.
    """

    def __init__(self, acknowledger: "Acknowledger", leases: Sequence[Lease]) -> None:
        self.is_acknowledged = False
        """True once `acknowledge` was called."""
        self._acknowledger = acknowledger
        self._leases = leases

    async def acknowledge(self) -> None:
        """Delete the message, or every message of a batch. Calls after the first have no effect.

        The handler may run on: from now on the lease limits it no longer. If it fails all the same, the
        message is not delivered again.
        """
        if self.is_acknowledged:
            return
        self.is_acknowledged = True
        try:
            for lease in self._leases:
                if not lease.is_detached:
                    await self._acknowledger.acknowledge(lease)
        except BaseException:  # cancelled while it waited
            self.is_acknowledged = False
            raise


class Acknowledger:
    """Collects acknowledged messages and deletes ten per call, or fewer `linger` seconds after the first.

    A delete that failed is repeated for as long as the lease holds, with growing pauses and one call at a
    time until one succeeds. After that the message is delivered once more, which is logged; a message that
    this process receives again is recognised by its id (`is_known`).
    """

    def __init__(
        self,
        queue: Queue,
        leases: LeaseKeeper,
        *,
        linger: float = 0.1,
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            on_recovery: called when `is_blocked` may have become false.
        """
        self._queue = queue
        self._leases = leases
        self._linger = linger
        self._on_recovery = on_recovery
        self._batch: list[Lease] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deletes = asyncio.TaskGroup()
        self._capacity = asyncio.Semaphore(10 * MAX_BATCH_SIZE)
        self._undeleted = 0
        self._failures = 0
        """Number of calls in a row that failed."""
        self._is_closing = False
        self._known: dict[str, None] = {}
        """Ids of messages that were not deleted before their lease ended, oldest first."""
        self._log_limit = LogLimit(log)

    @property
    def is_blocked(self) -> bool:
        """True while deleting fails again and again, and messages wait for it: more would wait as well."""
        return self._failures >= _MAX_FAILURES and self._undeleted > 0

    def is_known(self, message_id: str) -> bool:
        """Return whether the message was acknowledged before, but could not be deleted."""
        return message_id in self._known

    async def acknowledge(self, lease: Lease) -> None:
        """Delete a message soon. Waits only while a hundred others are not deleted yet."""
        await self._capacity.acquire()
        self._undeleted += 1
        lease.detach()
        self._batch.append(lease)
        if self._failures and len(self._batch) < self._undeleted:
            return  # a call that is under way, and may fail, schedules the next one
        if len(self._batch) >= MAX_BATCH_SIZE and not self._failures:
            self._flush()
        else:
            self._flush_after(self._linger)

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """Delete while the body runs, and the rest at its end, within `_FLUSH_TIMEOUT` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as flush, self._deletes:
                try:
                    yield
                    flush.reschedule(asyncio.get_running_loop().time() + _FLUSH_TIMEOUT)
                    self._is_closing = True
                    while self._batch:
                        self._flush()
                finally:
                    self._stop_timer()
        self._report_undeleted(self._undeleted)

    def _flush_after(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        self._stop_timer()
        batch, self._batch = self._batch[:MAX_BATCH_SIZE], self._batch[MAX_BATCH_SIZE:]
        if batch:
            self._deletes.create_task(self._delete(batch))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _delete(self, batch: Sequence[Lease]) -> None:
        failed = await self._try_delete(batch)
        while failed and self._is_closing:
            await asyncio.sleep(_MIN_RETRY_DELAY)
            failed = await self._try_delete(failed)
        for _ in range(len(batch) - len(failed)):
            self._undeleted -= 1
            self._capacity.release()
        self._batch = [*failed, *self._batch]
        self._schedule(has_failed=bool(failed))
        self._on_recovery()

    def _schedule(self, *, has_failed: bool) -> None:
        """Schedule the next call, after one has ended."""
        if has_failed or self._failures:
            pause = full_jitter(self._failures, base=1, cap=_MAX_RETRY_DELAY, floor=_MIN_RETRY_DELAY)
            self._flush_after(pause)
            return
        while len(self._batch) >= MAX_BATCH_SIZE:
            self._flush()
        if self._batch:
            self._flush_after(self._linger)

    async def _try_delete(self, batch: Sequence[Lease]) -> list[Lease]:
        """Delete the messages. Return those to be tried again."""
        by_handle = {lease.received.receipt_handle: lease for lease in batch}
        try:
            failed = (await self._queue.delete(list(by_handle))).failed
        except transient_errors():
            failed = frozenset(by_handle)
        self._failures = self._failures + 1 if len(failed) == len(batch) else 0
        lost = [lease for handle, lease in by_handle.items() if handle in failed and lease.is_lost]
        again = [lease for handle, lease in by_handle.items() if handle in failed and lease not in lost]
        for lease in by_handle.values():
            if lease not in again:
                self._leases.release(lease)
        self._on_lost(lost)
        return again

    def _on_lost(self, leases: Sequence[Lease]) -> None:
        self._report_undeleted(len(leases))
        self._known.update(dict.fromkeys(lease.received.message_id for lease in leases))
        while len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def _report_undeleted(self, count: int) -> None:
        if count:
            message = "handled messages could not be deleted and will be delivered again"
            self._log_limit(logging.ERROR, message, extra={"queue": self._queue.name, "count": count})
