"""Acknowledger: deletes handled messages, ten to a call."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from snsqs._lease import Lease, LeaseKeeper
from snsqs._queue import MAX_BATCH_SIZE, Queue
from snsqs.aws import transient_errors

log = logging.getLogger(__name__)

_RETRY_AFTER = 1.0
_FLUSH_MOST = 3.0


class Acknowledgement:
    """What a handler may ask for where acknowledging is manual: `await acknowledgement.acknowledge()`.

    It may be called once the work is safe, before the handler returns. A message that is not acknowledged
    by then comes again after its visibility timeout.
    """

    def __init__(self, acknowledger: "Acknowledger", leases: Sequence[Lease]) -> None:
        self.given = False
        self._acknowledger = acknowledger
        self._leases = leases

    async def acknowledge(self) -> None:
        """The message (of a batch: every message) is done. A second call does nothing."""
        if self.given:
            return
        self.given = True
        for lease in self._leases:
            await self._acknowledger.acknowledge(lease)


class Acknowledger:
    """Collects acknowledgements and sends them in batches of ten, or after `linger` seconds.

    A delete that failed is tried again for as long as the lease holds; after that the message is
    delivered once more, which is logged, and the inbox recognises it.
    """

    def __init__(self, queue: Queue, leases: LeaseKeeper, *, linger: float = 0.1) -> None:
        self._queue = queue
        self._leases = leases
        self._linger = linger
        self._batch: list[Lease] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deletes = asyncio.TaskGroup()
        self._room = asyncio.Semaphore(10 * MAX_BATCH_SIZE)

    async def acknowledge(self, lease: Lease) -> None:
        """Hands over a message that is done. Waits only while a hundred others are not deleted yet."""
        await self._room.acquire()
        self._batch.append(lease)
        if len(self._batch) == MAX_BATCH_SIZE:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._send)

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """Deletes while its body runs, and at its end what is left, for at most `_FLUSH_MOST` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as flush, self._deletes:
                try:
                    yield
                    flush.reschedule(asyncio.get_running_loop().time() + _FLUSH_MOST)
                    self._send()
                finally:
                    self._stop_timer()

    def _send(self) -> None:
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
        while batch := await self._try_to_delete(batch):
            await asyncio.sleep(_RETRY_AFTER)
        for _ in range(count):
            self._room.release()

    async def _try_to_delete(self, batch: Sequence[Lease]) -> list[Lease]:
        """Deletes, and answers what is to be tried again."""
        by_handle = {lease.received.receipt_handle: lease for lease in batch}
        try:
            failed = (await self._queue.delete(list(by_handle))).failed
        except transient_errors() as error:
            about = {"queue": self._queue.name, "count": len(batch), "error": str(error)}
            log.warning("messages not deleted", extra=about)
            failed = frozenset(by_handle)
        again = []
        for handle, lease in by_handle.items():
            if handle in failed and not lease.is_lost:
                again.append(lease)
            else:
                self._leases.release(lease)
        if lost := len(failed) - len(again):
            log.error(
                "handled messages could not be deleted and will come again",
                extra={"queue": self._queue.name, "count": lost},
            )
        return again
