"""Consumer: a bounded number of handlers that work on what was received."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from snsqs._acknowledgement import Acknowledger
from snsqs._handler import Binding, MessageHandler
from snsqs._incoming import Incoming, read
from snsqs._lanes import Lanes
from snsqs._lease import LeaseKeeper
from snsqs._queue import MAX_BATCH_SIZE, ListenerQueues, QueueSettings, Received, is_fifo
from snsqs._settled import OutcomeObserver
from snsqs._settlement import Settlement, SettlementOptions


@dataclass(frozen=True)
class ConsumerOptions(SettlementOptions):
    """How received messages are worked on; the times are seconds."""

    max_concurrency: int = 10
    """Handlers that run at once."""
    shutdown_timeout: float = 12.0
    """How long stopping waits for handlers. Acknowledging and giving back have six seconds more, so that
    all of it is within twenty."""


class Consumer:
    """Workers that take their turns from lanes, and settle one turn after the other.

    On a FIFO queue a message that has to come again holds back the rest of its group, and only that.
    """

    def __init__(
        self,
        queues: ListenerQueues,
        binding: Binding,
        handle: MessageHandler,
        options: ConsumerOptions,
        settings: QueueSettings,
        observer: OutcomeObserver | None = None,
    ) -> None:
        in_order = is_fifo(queues.queue.name)
        self._binding = binding
        self._options = options
        self._leases = LeaseKeeper(queues.queue, settings.visibility)
        self._acknowledger = Acknowledger(queues.queue, self._leases, linger=0 if in_order else 0.1)
        self._settlement = Settlement(
            queues,
            handle,
            self._leases,
            self._acknowledger,
            options,
            max_receive_count=settings.max_receive_count,
            observer=observer,
        )
        self._lanes = Lanes(in_order=in_order)
        self._idle = options.max_concurrency
        self._expected = 0
        self._room = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Handlers that run, each on one turn."""
        return self._options.max_concurrency - self._idle

    @property
    def buffered(self) -> int:
        """Messages that were received and wait for a worker."""
        return self._lanes.waiting

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Enters when a full receive call may follow: what waits and what is expected could begin at once.
        So one call is ahead of the workers when all are busy, and several may be when many are idle."""
        while not self._has_room:
            self._room.clear()
            await self._room.wait()
        self._expected += MAX_BATCH_SIZE
        try:
            yield
        finally:
            self._expected -= MAX_BATCH_SIZE
            self._tell_of_room()

    def take(self, messages: Sequence[Received]) -> None:
        """Lines the messages up; their leases are kept from now on."""
        for received in messages:
            self._lanes.add(read(self._leases.track(received), self._binding))

    @property
    def _has_room(self) -> bool:
        return self._lanes.waiting + self._expected <= self._idle

    def _tell_of_room(self) -> None:
        if self._has_room:
            self._room.set()

    def close(self) -> None:
        """Begins nothing more."""
        self._lanes.close(self._options.max_concurrency)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Works until its body ends, then drains: what has not begun goes back to the queue, what runs
        may finish, acknowledgements are sent."""
        async with self._leases.extending(), self._acknowledger.deleting():
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as drain, asyncio.TaskGroup() as workers:
                    for _ in range(self._options.max_concurrency):
                        workers.create_task(self._work())
                    yield
                    drain.reschedule(asyncio.get_running_loop().time() + self._options.shutdown_timeout)
                    self.close()
                    await self._give_back(self._lanes.take_out_all())

    async def _work(self) -> None:
        while (turn := await self._lanes.next()) is not None:
            if turn:
                self._idle -= 1
                await self._settle(turn)
                self._idle += 1
                self._tell_of_room()

    async def _settle(self, turn: Sequence[Incoming]) -> None:
        seconds = await self._settlement.settle(turn)
        if seconds is not None:
            await self._give_back(self._lanes.held_back_by(turn[0]), seconds)
        self._lanes.done(turn[0].lane)

    async def _give_back(self, messages: Sequence[Incoming], seconds: float = 0) -> None:
        await self._leases.requeue([incoming.lease for incoming in messages], seconds=seconds)
