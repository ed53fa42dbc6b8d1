"""The listener where only the clock can tell: on the simulator, where minutes take no time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.messaging import (
    Delivery,
    ListenerContainer,
    ListenerOptions,
    QueueSettings,
    Unavailable,
    bindings,
)
from shared.messaging.entries import text_attributes
from shared.messaging.handler import Binding
from shared.messaging.memory import Faults, MemoryBroker, MemoryQueue, run_on_virtual_clock
from shared.messaging.queue import BatchOutcome, ListenerQueues, Received
from tests.queues import QUEUE, TOPIC, Painted, Recorder, listener, message


def test_what_is_away_for_too_long_is_a_failure() -> None:
    """A message is kept for `unavailable_most` seconds; then it is given back, and that is a receive."""
    tries: list[tuple[int, float]] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        tries.append((delivery.receive_count, asyncio.get_running_loop().time()))
        if delivery.receive_count == 1:
            raise Unavailable("the other service is away")

    async def story() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler, options=ListenerOptions(unavailable_most=60))
            await broker.topic(TOPIC).send([message()])
            await broker.drain()

    run_on_virtual_clock(story())
    in_place = [at for count, at in tries if count == 1]
    assert [count for count, _ in tries] == [1] * len(in_place) + [2]
    assert 50 < in_place[-1] - in_place[0] <= 60


class _SlowAnswers(MemoryQueue):
    """A queue whose answers are on their way for a while: what they bring is leased already."""

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        received = await super().receive(limit=limit, wait=wait, visibility=visibility)
        await asyncio.sleep(0.35)
        return received


class _SlowDeletes(MemoryQueue):
    """A queue that takes a second for every delete."""

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        await asyncio.sleep(1)
        return await super().delete(handles)


@dataclass(frozen=True)
class _Source:
    """Where the listener gets that queue from."""

    queue: MemoryQueue
    settings: QueueSettings = field(default_factory=QueueSettings)

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        return ListenerQueues(self.queue, MemoryQueue(binding.dead_letter_queue, Faults()))


def full(queue: MemoryQueue) -> MemoryQueue:
    """With a hundred messages."""
    for number in range(100):
        sent = message(subject=str(number))
        queue.put(str(number), sent.payload, text_attributes(sent), None, sent.id)
    return queue


def test_pausing_for_a_moment_strands_nothing() -> None:
    """Calls that are under way bring their messages; those that follow are not cut short by the pause."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)

    async def story() -> None:
        [binding] = bindings([handler])
        container = ListenerContainer(_Source(full(_SlowAnswers(QUEUE, Faults()))), binding)
        running = asyncio.create_task(container.run())
        await asyncio.sleep(0.5)
        container.pause()
        container.resume()
        await asyncio.sleep(60)
        container.stop()
        await running

    run_on_virtual_clock(story())
    assert counts == [1] * 100


def test_a_slow_delete_does_not_hold_up_the_next() -> None:
    """A hundred messages are gone after little more than the time of one call."""

    async def story() -> None:
        queue = full(_SlowDeletes(QUEUE, Faults()))
        [binding] = bindings(Recorder().handlers)
        container = ListenerContainer(_Source(queue), binding)
        running = asyncio.create_task(container.run())
        await asyncio.sleep(1.5)
        assert queue.is_empty
        container.stop()
        await running

    run_on_virtual_clock(story())
