"""Timing of the listener, on the in-memory broker with a virtual clock."""

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
    RetryAfter,
    TerminalError,
    Unavailable,
    bindings,
    message_of,
)
from snsqs.headers import TIME
from snsqs.queues import BatchOutcome, ListenerQueues, Received, message_attributes
from snsqs.testing import Faults, MemoryBroker, MemoryQueue, NoProgress, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Handler, Painted, Recorder, listener, message


def test_a_dependency_that_stays_unavailable_is_a_failure() -> None:
    """A message is kept for `max_unavailable` seconds; then it is requeued, which costs a receive."""
    tries: list[tuple[int, float]] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        tries.append((delivery.receive_count, asyncio.get_running_loop().time()))
        if delivery.receive_count == 1:
            raise Unavailable("the other service is away")

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler, options=ListenerOptions(max_unavailable=60))
            await broker.topic(TOPIC).send([message()])
            await broker.join()

    run_on_virtual_clock(scenario())
    in_place = [at for count, at in tries if count == 1]
    assert [count for count, _ in tries] == [1] * len(in_place) + [2]
    assert in_place[-1] - in_place[0] == pytest.approx(60)


def test_an_outage_of_minutes_costs_few_tries() -> None:
    """The pauses between them grow up to a minute, in the five minutes until the message has failed."""
    tries: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        tries.append(delivery.receive_count)
        if delivery.receive_count == 1:
            raise Unavailable("the other service is away")

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await broker.join()

    run_on_virtual_clock(scenario())
    assert 6 < tries.count(1) < 25


class _SlowAnswers(MemoryQueue):
    """A queue with slow responses, whose messages are leased before they arrive."""

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        received = await super().receive(limit=limit, wait=wait, visibility=visibility)
        await asyncio.sleep(0.35)
        return received


class _SlowDeletes(MemoryQueue):
    """A queue whose deletes take a second."""

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        await asyncio.sleep(1)
        return await super().delete(handles)


@dataclass(frozen=True)
class _Source:
    """Provider of that queue."""

    queue: MemoryQueue
    settings: QueueSettings = field(default_factory=QueueSettings)

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        return ListenerQueues(self.queue, MemoryQueue(binding.dead_letter_queue, Faults()))


def full(queue: MemoryQueue) -> MemoryQueue:
    """Return the queue with a hundred messages."""
    for number in range(100):
        sent = message(subject=str(number))
        queue.put(str(number), sent.payload, message_attributes(sent), None, sent.id)
    return queue


def test_a_short_pause_leaves_no_message_leased() -> None:
    """Messages of calls that are under way are handled; the pause does not cut short later calls."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)

    async def scenario() -> None:
        [binding] = bindings([handler])
        container = ListenerContainer(_Source(full(_SlowAnswers(QUEUE, Faults()))), binding)
        running = asyncio.create_task(container.run())
        await asyncio.sleep(0.5)
        container.pause()
        container.resume()
        await asyncio.sleep(60)
        container.stop()
        await running

    run_on_virtual_clock(scenario())
    assert counts == [1] * 100


def test_slow_deletes_run_concurrently() -> None:
    """A hundred messages are deleted in little more than the time of one call."""

    async def scenario() -> None:
        queue = full(_SlowDeletes(QUEUE, Faults()))
        [binding] = bindings(Recorder().handlers)
        container = ListenerContainer(_Source(queue), binding)
        running = asyncio.create_task(container.run())
        await asyncio.sleep(1.5)
        assert queue.is_empty
        container.stop()
        await running

    run_on_virtual_clock(scenario())


@pytest.mark.parametrize("hours", [1, 7, 12])
def test_long_visibility_timeouts_work_to_their_end(hours: int) -> None:
    """A handler may take 11 h, and ask for a wait of 12 h: SQS counts both from the receive, and rejects
    more."""
    times: list[tuple[int, float]] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        times.append((delivery.receive_count, asyncio.get_running_loop().time()))
        await asyncio.sleep(11 * 3600)
        if delivery.receive_count == 1:
            raise RetryAfter(43_200)

    async def scenario() -> None:
        async with MemoryBroker(settings=QueueSettings(visibility=hours * 3600)) as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await broker.join()

    run_on_virtual_clock(scenario())
    assert [count for count, _ in times] == [1, 2]
    assert 43_100 < times[1][1] - times[0][1] <= 43_200


async def fails(*errors: Exception) -> None:
    """Raise the errors from a task group."""
    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(raises(error))


async def raises(error: Exception) -> None:
    raise error


def drained(handler: Handler, *sent: Message[str]) -> list[str]:
    """Return the reasons of dead letters."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send(sent)
            await broker.join()

    try:
        run_on_virtual_clock(scenario())
    except ExceptionGroup as group:
        return [f"{type(error).__name__}: {error}" for error in group.exceptions]
    return []


def test_errors_of_a_task_group_count_as_one() -> None:
    """One TerminalError is enough; Unavailable is waited for; with any other error it is a failure."""
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

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            melted = message_attributes(message("Melted"))
            await broker.queue(QUEUE).send("{}", melted, group=None, deduplication="")
            await broker.join()

    with pytest.raises(ExceptionGroup) as raised:
        run_on_virtual_clock(scenario())
    assert raised.group_contains(TerminalError, match="UnknownType: no handler on test-queue takes 'Melted'")


@pytest.mark.parametrize(("is_crashed", "why"), [(False, "its listener is paused"), (True, "no listener")])
def test_join_raises_where_no_listener_receives(is_crashed: bool, why: str) -> None:
    """It would wait for ever."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(*Recorder().handlers)
            container.pause()
            await asyncio.sleep(1)
            if is_crashed:
                await broker.crash(container)
            await broker.topic(TOPIC).send([message()])
            await broker.join()

    with pytest.raises(NoProgress, match=f"{QUEUE} has messages and {why}"):
        run_on_virtual_clock(scenario())


def test_a_message_of_an_event_has_its_identity() -> None:
    """Headers of `message_of`: the type for the handler, id and version for the inbox."""
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
