"""Acknowledger: deletes handled messages, ten to a call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from shared.messaging.aws import TRANSIENT
from shared.messaging.lease import Lease, LeaseKeeper
from shared.messaging.queue import BATCH, Queue

log = structlog.get_logger(__name__)

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
        self._handled: asyncio.Queue[Lease] = asyncio.Queue(maxsize=10 * BATCH)

    async def acknowledge(self, lease: Lease) -> None:
        """Hands over a message that is done. Waits only while a hundred others are waiting already."""
        await self._handled.put(lease)

    @asynccontextmanager
    async def deleting(self) -> AsyncIterator[None]:
        """Deletes while its body runs, and at its end what is left, for at most `_FLUSH_MOST` seconds."""
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._keep_deleting())
            try:
                yield
            finally:
                running.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_MOST):
                await self._flush()

    async def _keep_deleting(self) -> None:
        while True:
            await self._next_batch()
            await self._delete()

    async def _flush(self) -> None:
        while self._batch or not self._handled.empty():
            while len(self._batch) < BATCH and not self._handled.empty():
                self._batch.append(self._handled.get_nowait())
            await self._delete()

    async def _next_batch(self) -> None:
        """Fills the batch: with ten, or with what came in the time of `linger` after the first."""
        self._batch.append(await self._handled.get())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                while len(self._batch) < BATCH:
                    self._batch.append(await self._handled.get())

    async def _delete(self) -> None:
        while self._batch:
            self._batch = await self._try_to_delete(self._batch)
            if self._batch:
                await asyncio.sleep(_RETRY_AFTER)

    async def _try_to_delete(self, batch: Sequence[Lease]) -> list[Lease]:
        """Deletes, and answers what is to be tried again."""
        by_handle = {lease.received.receipt_handle: lease for lease in batch}
        try:
            failed = (await self._queue.delete(list(by_handle))).failed
        except TRANSIENT as error:
            log.warning("messages not deleted", queue=self._queue.name, count=len(batch), error=str(error))
            failed = frozenset(by_handle)
        again = []
        for handle, lease in by_handle.items():
            if handle in failed and not lease.is_lost:
                again.append(lease)
            else:
                self._leases.let_go(lease)
        if lost := len(failed) - len(again):
            log.error(
                "handled messages could not be deleted and will come again",
                queue=self._queue.name,
                count=lost,
            )
        return again
