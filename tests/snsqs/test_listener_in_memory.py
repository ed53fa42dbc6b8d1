"""The listener where only the clock can tell: on the simulator, where minutes take no time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from snsqs import (
    Aggregate,
    Binding,
    Delivery,
    ListenerContainer,
    ListenerOptions,
    Message,
    QueueSettings,
    TerminalError,
    Unavailable,
    bindings,
    message_of,
)
from snsqs.headers import TIME
from snsqs.queues import BatchOutcome, ListenerQueues, Received, message_attributes
from snsqs.testing import Faults, MemoryBroker, MemoryQueue, NoProgress, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Handler, Painted, Recorder, listener, message


def test_what_is_away_for_too_long_is_a_failure() -> None:
    """A message is kept for `max_unavailable` seconds; then it is given back, and that is a receive."""
    tries: list[tuple[int, float]] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        tries.append((delivery.receive_count, asyncio.get_running_loop().time()))
        if delivery.receive_count == 1:
            raise Unavailable("the other service is away")

    async def story() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler, options=ListenerOptions(max_unavailable=60))
            await broker.topic(TOPIC).send([message()])
            await broker.join()

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
        queue.put(str(number), sent.payload, message_attributes(sent), None, sent.id)
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


async def fails(*errors: Exception) -> None:
    """As a handler's task group does."""
    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(raises(error))


async def raises(error: Exception) -> None:
    raise error


def drained(handler: Handler, *sent: Message[str]) -> list[str]:
    """Why messages died."""

    async def story() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send(sent)
            await broker.join()

    try:
        run_on_virtual_clock(story())
    except ExceptionGroup as group:
        return [f"{type(error).__name__}: {error}" for error in group.exceptions]
    return []


def test_errors_of_a_task_group_count_as_what_they_are() -> None:
    """One that is terminal is enough; what is away is waited for; anything else among them is a failure."""
    counts: list[int] = []

    @listener
    async def terminal(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        await fails(Unavailable("away"), TerminalError("never"))

    @listener
    async def away(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if len(counts) < 3:
            await fails(Unavailable("away"), Unavailable("away too"))

    @listener
    async def mixed(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count == 1:
            await fails(TerminalError("never"), RuntimeError("not now"))

    for handler, died, received in (
        (terminal, ["TerminalError: never"], [1]),
        (away, [], [1, 1, 1]),
        (mixed, [], [1, 2]),
    ):
        counts.clear()
        assert drained(handler, message()) == died
        assert counts == received


def test_join_raises_the_reason_of_messages_without_a_handler() -> None:
    """Also of those that were sent to the queue directly."""

    @listener
    async def handler(event: Painted) -> None: ...

    async def story() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            melted = message_attributes(message("Melted"))
            await broker.queue(QUEUE).send("{}", melted, group=None, deduplication="")
            await broker.join()

    with pytest.raises(ExceptionGroup) as raised:
        run_on_virtual_clock(story())
    assert raised.group_contains(TerminalError, match="UnknownType: no handler on test-queue takes 'Melted'")


@pytest.mark.parametrize(("is_crashed", "why"), [(False, "its listener is paused"), (True, "no listener")])
def test_join_raises_where_no_listener_receives(is_crashed: bool, why: str) -> None:
    """It would wait for ever."""

    async def story() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(*Recorder().handlers)
            container.pause()
            await asyncio.sleep(1)
            if is_crashed:
                await broker.crash(container)
            await broker.topic(TOPIC).send([message()])
            await broker.join()

    with pytest.raises(NoProgress, match=f"{QUEUE} has messages and {why}"):
        run_on_virtual_clock(story())


def test_an_event_goes_with_what_it_is_recognised_by() -> None:
    """`message_of` is what a consumer takes: its type finds the handler, its id and version the inbox."""
    received: list[Message[str]] = []

    @listener
    async def handler(event: Painted, sent: Message[str]) -> None:
        assert event == painted
        received.append(sent)

    painted = Painted(source=Aggregate(id="7", version=3), occurence_on=1520393282506)
    sent, again = message_of(painted), message_of(painted)
    assert drained(handler, sent) == []
    assert [(each.id, each.subject, each.sequence) for each in received] == [(sent.id, "7", 3)]
    assert received[0].headers[TIME] == "2018-03-07T03:28:02.506000+00:00"
    assert again.id != sent.id
