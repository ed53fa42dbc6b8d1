"""Acknowledger: deletes handled messages in batches of ten."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from snsqs._lease import Lease, LeaseKeeper
from snsqs._queue import MAX_BATCH_SIZE, Queue
from snsqs.aws import transient_errors

log = logging.getLogger(__name__)

_RETRY_DELAY = 1.0
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
        """Delete the message, or every message of a batch. Calls after the first have no effect."""
        if self.is_acknowledged:
            return
        self.is_acknowledged = True
        for lease in self._leases:
            await self._acknowledger.acknowledge(lease)


class Acknowledger:
    """Collects acknowledged messages and deletes ten per call, or fewer `linger` seconds after the first.

    A delete that failed is repeated for as long as the lease holds. After that the message is delivered once
    more, which is logged; the inbox recognises it.
    """

    def __init__(self, queue: Queue, leases: LeaseKeeper, *, linger: float = 0.1) -> None:
        self._queue = queue
        self._leases = leases
        self._linger = linger
        self._batch: list[Lease] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deletes = asyncio.TaskGroup()
        self._capacity = asyncio.Semaphore(10 * MAX_BATCH_SIZE)

    async def acknowledge(self, lease: Lease) -> None:
        """Delete a message soon. Waits only while a hundred others are not deleted yet."""
        await self._capacity.acquire()
        self._batch.append(lease)
        if len(self._batch) == MAX_BATCH_SIZE:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._flush)

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """Delete while the body runs, and the rest at its end, within `_FLUSH_TIMEOUT` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as flush, self._deletes:
                try:
                    yield
                    flush.reschedule(asyncio.get_running_loop().time() + _FLUSH_TIMEOUT)
                    self._flush()
                finally:
                    self._stop_timer()

    def _flush(self) -> None:
        self._stop_timer()
        batch, self._batch = self._batch, []
        if batch:
            self._deletes.create_task(self._delete(batch))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _delete(self, batch: Sequence[Lease]) -> None:
        count = len(batch)
        while batch := await self._try_delete(batch):
            await asyncio.sleep(_RETRY_DELAY)
        for _ in range(count):
            self._capacity.release()

    async def _try_delete(self, batch: Sequence[Lease]) -> list[Lease]:
        """Delete the messages. Return those to be tried again."""
        by_handle = {lease.received.receipt_handle: lease for lease in batch}
        try:
            failed = (await self._queue.delete(list(by_handle))).failed
        except transient_errors():
            failed = frozenset(by_handle)
        again = []
        for handle, lease in by_handle.items():
            if handle in failed and not lease.is_lost:
                again.append(lease)
            else:
                self._leases.release(lease)
        if lost := len(failed) - len(again):
            log.error(
                "handled messages could not be deleted and will be delivered again",
                extra={"queue": self._queue.name, "count": lost},
            )
        return again
