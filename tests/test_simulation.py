"""The listener under every fault that a queue has, on the simulator: thousands of histories, by seed."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.messaging import (
    Delivery,
    ListenerOptions,
    MessageHandler,
    QueueSettings,
    TerminalError,
    sqs_listener,
)
from shared.messaging.memory import Faults, MemoryBroker, run_on_virtual_clock
from tests.queues import QUEUE, TOPIC, Painted, message


@dataclass
class OnceOnly:
    """An inbox in memory: a second delivery waits for the first, and has an effect only if that had none."""

    provides = ()
    seen: set[str] = field(default_factory=set)
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        async with self.locks[delivery.message.id]:
            if delivery.message.id in self.seen:
                return
            await proceed(delivery)
            self.seen.add(delivery.message.id)


@dataclass
class World:
    """What happened, outside of any process."""

    inbox: OnceOnly = field(default_factory=OnceOnly)
    effects: Counter[str] = field(default_factory=Counter)


@pytest.fixture(autouse=True, scope="module")
def _silence() -> Iterator[None]:
    """A thousand histories have a lot to say."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


rates = st.floats(0, 0.4)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    duplicate=rates,
    reorder=rates,
    delay=rates,
    drop_entry=rates,
    lose_acknowledgement=rates,
    fail_call=rates,
    failing=rates,
    crashes=st.integers(0, 3),
    count=st.integers(1, 25),
)
def test_every_message_ends_handled_once_or_dead_with_a_reason(
    seed: int,
    duplicate: float,
    reorder: float,
    delay: float,
    drop_entry: float,
    lose_acknowledgement: float,
    fail_call: float,
    failing: float,
    crashes: int,
    count: int,
) -> None:
    """G3, G5, G7: whatever the faults and crashes, nothing is lost, nothing is doubled, the loop drains."""
    faults = Faults(
        seed,
        duplicate=duplicate,
        reorder=reorder,
        delay=delay,
        drop_entry=drop_entry,
        lose_acknowledgement=lose_acknowledgement,
        fail_call=fail_call,
    )
    world = World()

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Painted, delivery: Delivery) -> None:
        await asyncio.sleep(0.3)
        if int(event.source.id) % 7 == 3:
            raise TerminalError("can never succeed")
        if faults.strikes(failing):
            raise RuntimeError("did not succeed this time")
        world.effects[delivery.message.id] += 1

    async def history() -> None:
        broker = MemoryBroker(settings=QueueSettings(visibility=10, max_receive_count=5), faults=faults)
        sent = [message(subject=str(number)) for number in range(count)]
        async with broker, asyncio.timeout(3_600 * 24):
            [listener] = broker.listen(
                handler, middleware=[world.inbox], options=ListenerOptions(in_flight=3)
            )
            for each in sent:
                while not isinstance((await broker.topic(TOPIC).send([each]))[0], str):
                    pass
            for _ in range(crashes):
                await asyncio.sleep(1)
                await broker.crash(listener)
                [listener] = broker.listen(handler, middleware=[world.inbox])
            with suppress(ExceptionGroup):
                await broker.drain()
        dead = broker.queue(f"{QUEUE}-dlq").messages
        dead_ids = {stored.attributes["ce-id"]["StringValue"] for stored in dead}
        assert {each.id for each in sent} == set(world.effects) | dead_ids
        assert all(count == 1 for count in world.effects.values())

    run_on_virtual_clock(history())
