"""Lease: the time for which a received message belongs to this consumer, as a cancellation scope.

SQS hides a received message for its visibility timeout and then delivers it again. So the leases of messages
that are pending, being handled or not yet deleted are extended at half time, in batches of ten. If that
fails for so long that another consumer may have the message, its handler is cancelled before it can commit.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from snsqs import _metrics
from snsqs._errors import MAX_VISIBILITY, LeaseLost
from snsqs._monitored_queue import CallFailures, MonitoredQueue
from snsqs._queue import Queue, Received, batched
from snsqs.aws import transient_errors

_REQUEUE_TIMEOUT = 3.0

_MAX_LEASE = MAX_VISIBILITY - 30
"""Seconds from a receive to the end of its last extension. SQS counts from its own time, and rejects more."""


class Lease:
    """Lease of one received message, until `deadline` (time of the event loop, in seconds)."""

    def __init__(self, received: Received, visibility: float, max_extension: float | None = None) -> None:
        self.received = received
        self.limit = received.leased_at + (_MAX_LEASE if max_extension is None else max_extension)
        """Time beyond which the lease is not extended."""
        self.deadline = received.leased_at + visibility
        if max_extension is not None:
            self.deadline = min(self.deadline, self.limit)
        self.is_detached = False
        """True once the message is acknowledged: its handler may run on beyond the deadline."""
        self._time = asyncio.get_running_loop().time
        self.on_change: Callable[[], None] | None = None
        """Called when the deadline changes, or no longer matters; set by `held`."""

    @property
    def is_lost(self) -> bool:
        """True after the deadline: the queue may have delivered the message to another consumer. May be read
        from any thread."""
        return self._time() >= self.deadline

    @property
    def is_at_limit(self) -> bool:
        """True when the lease cannot be extended by another second."""
        return self.deadline > self.limit - 1

    def detach(self) -> None:
        """Let the handler run on beyond the deadline. Called when the message is acknowledged."""
        self.is_detached = True
        if self.on_change is not None:
            self.on_change()

    def change(self, deadline: float) -> None:
        """Set another deadline: the lease is extended, or found to be lost."""
        self.deadline = deadline
        if self.on_change is not None:
            self.on_change()


@asynccontextmanager
async def held(leases: Sequence[Lease]) -> AsyncIterator[None]:
    """Cancel the body when the first of the leases ends that is not detached. Raises LeaseLost then, also
    when the body ignores its cancellation, or blocks the event loop so that it cannot be cancelled."""

    def deadline() -> float | None:
        return min((lease.deadline for lease in leases if not lease.is_detached), default=None)

    def reschedule() -> None:
        if not scope.expired():
            scope.reschedule(deadline())

    if any(lease.is_lost for lease in leases):
        raise LeaseLost("the lease ended before its handler began")
    try:
        async with asyncio.timeout_at(deadline()) as scope:
            for lease in leases:
                lease.on_change = reschedule
            yield
    except TimeoutError:
        if scope.expired():
            raise _lease_lost(leases) from None
        raise
    except Exception as error:
        if scope.expired():
            raise _lease_lost(leases) from error
        raise
    finally:
        for lease in leases:
            lease.on_change = None
    if scope.expired():
        raise _lease_lost(leases)
    if any(lease.is_lost and not lease.is_detached for lease in leases):
        raise LeaseLost("the lease ended before the handler, which blocked the event loop")


def _lease_lost(leases: Sequence[Lease]) -> LeaseLost:
    first = min(leases, key=lambda lease: lease.deadline)
    if first.is_at_limit:
        held_for = round(first.limit - first.received.leased_at)
        return LeaseLost(f"the lease ended before the handler; its maximum is {held_for} s")
    return LeaseLost("the lease ended before the handler")


class LeaseKeeper:
    """Extends the leases of messages of one queue, from `track` until `release` or `requeue`.

    `visibility` is the visibility timeout in seconds with which the messages are received, `max_extension`
    the time in seconds after which their leases are not extended further; None is the limit of SQS.
    """

    def __init__(self, queue: Queue, visibility: int, max_extension: float | None = None) -> None:
        self._queue = queue if isinstance(queue, MonitoredQueue) else MonitoredQueue(queue, CallFailures())
        if type(visibility) is not int or not 1 <= visibility <= MAX_VISIBILITY:
            raise ValueError(
                f"LeaseKeeper: visibility is {visibility!r}; set a whole number from 1 to {MAX_VISIBILITY}"
            )
        self._visibility = visibility
        self._max_extension = max_extension
        self._leases: dict[str, Lease] = {}

    @property
    def oldest_message_age(self) -> float | None:
        """Seconds since the oldest message was sent whose lease is tracked; None if there is none."""
        ages = [
            (received.received_at - received.sent_at).total_seconds() - received.leased_at
            for received in (lease.received for lease in self._leases.values())
            if received.sent_at is not None
        ]
        # By the clock of the event loop since the receive, so that it is right on a virtual clock.
        return max(ages) + asyncio.get_running_loop().time() if ages else None

    def track(self, received: Received) -> Lease:
        """Return the lease of a message just received, which is extended from now on."""
        lease = Lease(received, self._visibility, self._max_extension)
        self._leases[received.receipt_handle] = lease
        return lease

    def release(self, lease: Lease) -> None:
        """Stop extending a lease: its message is deleted, or left to its visibility timeout."""
        self._leases.pop(lease.received.receipt_handle, None)

    async def requeue(self, leases: Sequence[Lease], *, delay: float) -> None:
        """Make the messages visible again in `delay` seconds, rounded up, or at the limit of SQS. Where the
        queue cannot be reached they become visible when their visibility timeout ends."""
        await asyncio.gather(*(self._requeue(batch, math.ceil(delay)) for batch in batched(leases)))

    @asynccontextmanager
    async def extending(self) -> AsyncIterator[None]:
        """Extend tracked leases while the body runs. At its end, also after an error or a cancellation,
        requeue what is still tracked. An error of the body is raised as it is, not in an ExceptionGroup."""
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                extending = group.create_task(self._keep_extending())
                try:
                    yield
                except Exception as error:  # raised below: the group would wrap it
                    failure = error
                finally:
                    extending.cancel()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REQUEUE_TIMEOUT):
                    await self.requeue(list(self._leases.values()), delay=0)
        if failure is not None:
            raise failure

    async def _requeue(self, leases: Sequence[Lease], delay: int) -> None:
        for lease in leases:
            self.release(lease)
        now = asyncio.get_running_loop().time()
        seconds = {
            lease.received.receipt_handle: max(
                0, min(delay, int(lease.received.leased_at + _MAX_LEASE - now))
            )
            for lease in leases
        }
        with suppress(*transient_errors()):
            await self._queue.change_visibility(seconds)

    async def _keep_extending(self) -> None:
        while True:
            await asyncio.sleep(self._visibility / 10)
            await asyncio.gather(*(self._extend(batch) for batch in batched(self._due())))

    def _due(self) -> list[Lease]:
        soon = asyncio.get_running_loop().time() + self._visibility / 2
        return [lease for lease in self._leases.values() if lease.deadline <= soon and not lease.is_at_limit]

    async def _extend(self, leases: Sequence[Lease]) -> None:
        by_handle = {lease.received.receipt_handle: lease for lease in leases}
        began = asyncio.get_running_loop().time()
        seconds = {
            handle: min(self._visibility, int(lease.limit - began)) for handle, lease in by_handle.items()
        }
        try:
            async with asyncio.timeout(self._visibility / 6):  # one call that hangs must not cost the lease
                outcome = await self._queue.change_visibility(seconds)
        except transient_errors():
            _metrics.extensions_failed[self._queue.name] += len(leases)
            return
        _metrics.extensions_failed[self._queue.name] += len(outcome.failed) + len(outcome.gone)
        for handle, lease in by_handle.items():
            if handle in outcome.gone:
                self.release(lease)
                lease.change(began)
            elif handle not in outcome.failed:
                lease.change(began + seconds[handle])
