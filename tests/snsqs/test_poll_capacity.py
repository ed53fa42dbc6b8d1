"""Many listeners on one client: their long polls leave connections for other calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from snsqs import AwsClients, ListenerContainer, ListenerMisconfigured, Topology, bindings, sqs_listener

from tests.serving import eventually
from tests.snsqs.front import Front, serving_front
from tests.snsqs.queues import TOPIC, Handler, Painted, message

VISIBILITY = 5


class Handlers:
    """Handlers of many queues. One takes longer than the visibility timeout of its queue."""

    def __init__(self, count: int) -> None:
        self.ended: list[str] = []
        self.all: list[Handler] = [self._on(f"queue-{number}") for number in range(count)]

    def _on(self, queue: str) -> Handler:
        @sqs_listener(queue, topic=TOPIC)
        async def on_painted(event: Painted) -> None:
            if event.source.id == "long":
                await asyncio.sleep(1.6 * VISIBILITY)
                self.ended.append(event.source.id)

        return on_painted


@asynccontextmanager
async def listening(clients: AwsClients, handlers: Sequence[Handler]) -> AsyncIterator[None]:
    topology = Topology(clients, create=False)
    containers = [ListenerContainer(topology, each) for each in bindings(handlers)]
    for each in containers:
        await each.prepare()
    running = [asyncio.create_task(each.run()) for each in containers]
    try:
        yield
    finally:
        for each in containers:
            each.stop()
        await asyncio.gather(*running)


async def handles_a_long_message(front: Front, handlers: Handlers) -> None:
    """Long for the lease, and sends a dead letter at the same time."""
    count = len(handlers.all)

    async def all_poll() -> bool:
        return front.calls["ReceiveMessage"] >= count

    await eventually(all_poll)
    front.put("queue-0", message(subject="long"))
    front.put("queue-1", message("Unknown", subject="unknown"))

    async def is_dead_letter() -> bool:
        return not front.queue("queue-1-dlq").is_empty and front.queue("queue-1").is_empty

    async def is_deleted() -> bool:
        return front.queue("queue-0").is_empty

    await eventually(is_dead_letter, within=VISIBILITY)
    await eventually(is_deleted, within=5 * VISIBILITY)
    assert handlers.ended == ["long"], "handled once, its lease was extended"
    assert front.calls["ChangeMessageVisibilityBatch"] >= 1


async def test_a_hundred_idle_listeners_delay_no_other_call() -> None:
    """With the defaults of aws_clients."""
    handlers = Handlers(100)
    async with serving_front(visibility=VISIBILITY) as (front, clients), listening(clients, handlers.all):
        await handles_a_long_message(front, handlers)
        assert front.calls["ReceiveMessage"] < 130, "one poll each, and those after a message"


async def test_busy_listeners_on_a_small_pool_delay_no_other_call() -> None:
    """Full batches start more polls. Half of a client's six connections, which the application opened itself,
    is kept free."""
    handlers = Handlers(3)
    config = AioConfig(max_pool_connections=6, read_timeout=25)
    async with serving_front(visibility=VISIBILITY) as (front, _):
        session = aioboto3.Session(region_name="us-east-1")
        async with (
            session.client("sqs", endpoint_url=front.url, config=config) as sqs,
            session.client("sns", endpoint_url=front.url) as sns,
            listening(AwsClients(sns, sqs), handlers.all),
        ):
            for number in range(3 * 60):
                front.put(f"queue-{number % 3}", message(subject="quick"))

            async def are_empty() -> bool:
                return all(each.is_empty for each in front.queues.values())

            await eventually(are_empty)
            await handles_a_long_message(front, handlers)


async def test_a_busy_listener_leaves_the_others_their_polls() -> None:
    """Also on the smallest pool: its extra polls end soon after its queue is empty."""
    handlers = Handlers(3)
    async with serving_front(connections=6) as (front, clients), listening(clients, handlers.all):
        for _ in range(60):
            front.put("queue-0", message(subject="quick"))
        for _ in range(3):
            front.put("queue-1", message(subject="quick"))

            async def are_empty() -> bool:
                return all(each.is_empty for each in front.queues.values())

            await eventually(are_empty, within=10)
            await asyncio.sleep(0.2)


async def test_a_pool_that_is_too_small_is_an_error_at_start() -> None:
    """It says how many connections the listeners need."""
    async with serving_front(connections=6) as (_, clients):
        with pytest.raises(
            ListenerMisconfigured,
            match="queue-3: the SQS client has 6 connections; 4 listeners need at least 7",
        ):
            async with listening(clients, Handlers(4).all):
                pass
