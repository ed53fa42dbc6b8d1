"""Lease: the time for which a received message is ours, as a cancellation scope; and who extends it.

SQS gives a message out for its visibility timeout and then to somebody else. So whatever is buffered,
running or waiting for its acknowledgement is extended at half time, in batches of ten. When that fails for
so long that the message may be elsewhere, the handler is cancelled before it can commit.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from snsqs._batching import batched
from snsqs._errors import LeaseLost
from snsqs._queue import Queue, Received
from snsqs.aws import transient_errors

log = logging.getLogger(__name__)


_GIVE_BACK_MOST = 3.0


class Lease:
    """One received message, held until `deadline` (the event loop's time)."""

    def __init__(self, received: Received, visibility: float) -> None:
        self.received = received
        self.deadline = received.leased_at + visibility
        self.on_move: Callable[[], None] | None = None
        """Who is told when the deadline moves: the scope that its handler runs in."""

    @property
    def is_lost(self) -> bool:
        return asyncio.get_running_loop().time() >= self.deadline

    def move(self, deadline: float) -> None:
        """The lease ends at another time than was known so far: extended, or found lost."""
        self.deadline = deadline
        if self.on_move is not None:
            self.on_move()


@asynccontextmanager
async def held(leases: Sequence[Lease]) -> AsyncIterator[None]:
    """Cancels its body when the first of the leases ends, and raises LeaseLost then."""

    def reschedule() -> None:
        if not scope.expired():
            scope.reschedule(min(lease.deadline for lease in leases))

    try:
        async with asyncio.timeout_at(min(lease.deadline for lease in leases)) as scope:
            for lease in leases:
                lease.on_move = reschedule
            yield
    except TimeoutError:
        if scope.expired():
            raise LeaseLost("the lease ended before the handler") from None
        raise
    finally:
        for lease in leases:
            lease.on_move = None


class LeaseKeeper:
    """Extends the leases that it holds until they are let go."""

    def __init__(self, queue: Queue, visibility: int) -> None:
        self._queue = queue
        self._visibility = visibility
        self._leases: dict[str, Lease] = {}

    def track(self, received: Received) -> Lease:
        """Takes a message just received, and extends its lease from now on."""
        lease = Lease(received, self._visibility)
        self._leases[received.receipt_handle] = lease
        return lease

    def release(self, lease: Lease) -> None:
        """Stops extending: the message is acknowledged, given back, or lost."""
        self._leases.pop(lease.received.receipt_handle, None)

    @asynccontextmanager
    async def extending(self) -> AsyncIterator[None]:
        """Extends while its body runs; what is still held at its end is given back."""
        async with asyncio.TaskGroup() as group:
            extending = group.create_task(self._keep_extending())
            try:
                yield
            finally:
                extending.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_MOST):
                await self.requeue(list(self._leases.values()), seconds=0)

    async def requeue(self, leases: Sequence[Lease], *, seconds: float) -> None:
        """Lets the messages be received again after so many seconds. Where SQS cannot be told so, that
        happens after their visibility timeout all the same."""
        await asyncio.gather(*(self._give_back(batch, math.ceil(seconds)) for batch in batched(leases)))

    async def _give_back(self, leases: Sequence[Lease], seconds: int) -> None:
        for lease in leases:
            self.release(lease)
        handles = [lease.received.receipt_handle for lease in leases]
        try:
            await self._queue.change_visibility(dict.fromkeys(handles, seconds))
        except transient_errors() as error:
            log.warning("visibility not changed", extra={"queue": self._queue.name, "error": str(error)})

    async def _keep_extending(self) -> None:
        while True:
            await asyncio.sleep(self._visibility / 10)
            await asyncio.gather(*(self._extend(batch) for batch in batched(self._due())))

    def _due(self) -> list[Lease]:
        soon = asyncio.get_running_loop().time() + self._visibility / 2
        return [lease for lease in self._leases.values() if lease.deadline <= soon]

    async def _extend(self, leases: Sequence[Lease]) -> None:
        by_handle = {lease.received.receipt_handle: lease for lease in leases}
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._visibility / 6):  # one call that hangs must not cost the lease
                outcome = await self._queue.change_visibility(dict.fromkeys(by_handle, self._visibility))
        except transient_errors() as error:
            about = {"queue": self._queue.name, "count": len(leases), "error": repr(error)}
            log.warning("leases not extended", extra=about)
            return
        for handle, lease in by_handle.items():
            if handle in outcome.gone:
                self.release(lease)
                lease.move(began)
            elif handle not in outcome.failed:
                lease.move(began + self._visibility)
