"""Number of messages that a listener receives ahead of its handlers, on a virtual clock."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snsqs import (
    Binding,
    Delivery,
    ListenerContainer,
    ListenerOptions,
    bindings,
)
from snsqs.queues import ListenerQueues, Received, message_attributes
from snsqs.testing import Faults, MemoryBroker, MemoryQueue, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Handler, Painted, fifo, listener, message


def sleeper(seconds: Callable[[str], float]) -> Handler:
    """Return a handler that takes as long as the id of its event says."""

    @listener
    async def job(event: Painted) -> None:
        await asyncio.sleep(seconds(event.source.id))

    return job


class CountingQueue(MemoryQueue):
    """A queue that counts the receive calls that returned messages."""

    calls = 0

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        messages = await super().receive(limit=limit, wait=wait, visibility=visibility)
        self.calls += bool(messages)
        return messages


@dataclass(frozen=True)
class Source:
    """Provider of that queue."""

    queue: MemoryQueue

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        return ListenerQueues(self.queue, MemoryQueue(binding.dead_letter_queue, Faults()))


async def calls_per_message(handler: Handler, count: int, concurrency: int, **options: Any) -> float:
    """Return the number of receive calls for each message of a full queue."""
    queue = CountingQueue(QUEUE, Faults())
    for number in range(count):
        sent = message(subject=str(number))
        queue.put(str(number), sent.payload, message_attributes(sent), None, sent.id)
    [binding] = bindings([handler])
    container = ListenerContainer(
        Source(queue), binding, options=ListenerOptions(max_concurrency=concurrency, **options)
    )
    running = asyncio.create_task(container.run())
    while not queue.is_empty:
        await asyncio.sleep(0.1)
    container.stop()
    await running
    return queue.calls / count


@pytest.mark.parametrize("concurrency", [1, 3, 10, 50])
@pytest.mark.parametrize("seconds", [0, 0.001, 0.05])
def test_fast_handlers_need_a_receive_call_for_ten_messages(concurrency: int, seconds: float) -> None:
    """After the first messages, which show that they are fast."""
    handler = sleeper(lambda _: seconds)
    calls = run_on_virtual_clock(calls_per_message(handler, 2_000, concurrency))
    assert calls <= 0.1 + 40 / 2_000


@pytest.mark.parametrize("limit", [1, 4])
def test_a_call_has_at_most_the_messages_of_the_option(limit: int) -> None:
    """Also for handlers that are fast, or idle."""
    calls = calls_per_message(sleeper(lambda _: 0.001), 400, 10, max_messages_per_poll=limit)
    assert run_on_virtual_clock(calls) == pytest.approx(1 / limit, rel=0.1)


def test_a_batch_handler_receives_full_batches_however_slow_it_is() -> None:
    sizes: list[int] = []

    @listener
    async def handler(events: list[Painted]) -> None:
        sizes.append(len(events))
        await asyncio.sleep(60)

    assert run_on_virtual_clock(calls_per_message(handler, 200, 1)) == 0.1
    assert sizes == [10] * 20


def test_instances_share_long_jobs() -> None:
    """Ten jobs of ten minutes, two instances with a concurrency of one: five and five, in fifty minutes."""
    done: Counter[int] = Counter()

    def instance(number: int) -> Handler:
        @listener
        async def job(event: Painted) -> None:
            await asyncio.sleep(600)
            done[number] += 1

        return job

    async def scenario() -> float:
        async with MemoryBroker() as broker:
            for number in range(2):
                broker.listen(instance(number), options=ListenerOptions(max_concurrency=1))
            await broker.topic(TOPIC).send([message(subject=str(number)) for number in range(10)])
            await broker.join()
            return asyncio.get_running_loop().time()

    assert run_on_virtual_clock(scenario()) == pytest.approx(3_000, abs=10)
    assert done == {0: 5, 1: 5}


@pytest.mark.parametrize("mark", [listener, fifo], ids=["standard", "fifo"])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_restarts_dead_letter_no_job_that_has_not_started(
    mark: Callable[[Handler], Handler], concurrency: int
) -> None:
    """An instance that is restarted every eleven minutes handles a job of ten at a time. The jobs of the FIFO
    queue are those of one group."""
    began: set[str] = set()

    @mark
    async def job(event: Painted) -> None:
        began.add(event.source.id)
        await asyncio.sleep(600)

    async def scenario() -> set[str]:
        async with MemoryBroker() as broker:
            [binding] = bindings([job])
            broker.subscribe(binding)
            [topic] = binding.topics
            for number in range(12):
                await broker.topic(topic).send([message(subject=str(number)).copy(group_id="one")])
            for _ in range(12):
                container = broker.start(binding, options=ListenerOptions(max_concurrency=concurrency))
                await asyncio.sleep(660)
                await broker.crash(container)
            return {each.message.subject for each in broker.dead_letters()}

    assert run_on_virtual_clock(scenario()) <= began


@settings(deadline=None)
@given(
    seconds=st.one_of(st.floats(0, 1), st.floats(1, 10), st.floats(10, 900)),
    concurrency=st.integers(1, 20),
    instances=st.integers(1, 3),
    count=st.integers(1, 200),
)
def test_no_message_waits_while_it_could_start_elsewhere(
    seconds: float, concurrency: int, instances: int, count: int
) -> None:
    """Handlers of constant speed: a received message starts within two seconds."""
    began: dict[str, float] = {}
    waits: list[float] = []

    @listener
    async def job(event: Painted, delivery: Delivery) -> None:
        now = asyncio.get_running_loop().time()
        waits.append(now - began.pop(delivery.message.id))
        await asyncio.sleep(seconds)

    class Noting(MemoryQueue):
        async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
            messages = await super().receive(limit=limit, wait=wait, visibility=visibility)
            now = asyncio.get_running_loop().time()
            began.update({each.attributes["ce-id"]: now for each in messages})
            return messages

    async def scenario() -> None:
        queue = Noting(QUEUE, Faults())
        for number in range(count):
            sent = message(subject=str(number))
            queue.put(str(number), sent.payload, message_attributes(sent), None, sent.id)
        [binding] = bindings([job])
        options = ListenerOptions(max_concurrency=concurrency)
        containers = [ListenerContainer(Source(queue), binding, options=options) for _ in range(instances)]
        running = [asyncio.create_task(container.run()) for container in containers]
        while not queue.is_empty:
            await asyncio.sleep(1)
        for container in containers:
            container.stop()
        await asyncio.gather(*running)

    run_on_virtual_clock(scenario())
    assert len(waits) == count
    assert max(waits) <= 2.01


def test_messages_behind_a_slow_one_return_to_the_queue_once() -> None:
    """After fast messages some are received ahead. While the slow one runs, they are not held, and later ones
    are received one by one."""
    handler = sleeper(lambda subject: 600 if int(subject) >= 500 else 0.01)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler, options=ListenerOptions(max_concurrency=1))
            for number in range(500):
                await broker.topic(TOPIC).send([message(subject=str(number))])
            await broker.join()
            for number in range(500, 530):
                await broker.topic(TOPIC).send([message(subject=str(number))])
            await asyncio.sleep(60)
            assert (container.in_flight, container.buffered) == (1, 0)
            await asyncio.sleep(600)
            assert (container.in_flight, container.buffered) == (1, 0)
            counts = Counter(each.receive_count for each in broker.queue(QUEUE).messages)
            assert counts[1] <= 11
            assert max(counts) <= 2

    run_on_virtual_clock(scenario())
