"""The listener under every fault of a queue, on the in-memory broker: thousands of histories, by seed."""

import asyncio
import os
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snsqs import (
    Delivery,
    ListenerOptions,
    Message,
    MessageHandler,
    QueueSettings,
    TerminalError,
    sqs_listener,
)
from snsqs.testing import Faults, MemoryBroker, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Painted, message

pytestmark = pytest.mark.usefixtures("silence")

HISTORIES = int(os.environ.get("HISTORIES", "1000"))
"""Number of examples; `make simulate` runs many more."""


@dataclass
class OnceOnly:
    """An inbox in memory. A duplicate waits for the first delivery, and is handled only if that failed."""

    provides = ()
    seen: set[str] = field(default_factory=set)
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        by_id = {message.id: message for message in delivery.messages}
        async with AsyncExitStack() as held:
            for each in sorted(by_id):
                await held.enter_async_context(self.locks[each])
            if new := [message for each, message in by_id.items() if each not in self.seen]:
                await proceed(delivery.only(new))
                self.seen.update(by_id)


@dataclass
class World:
    """Effects of the handlers, which survive a crash."""

    inbox: OnceOnly = field(default_factory=OnceOnly)
    effects: list[Message[str]] = field(default_factory=list)


rates = st.floats(0, 0.4)


@settings(max_examples=HISTORIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    suffix=st.sampled_from(["", ".fifo"]),
    in_batches=st.booleans(),
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
def test_every_message_is_handled_once_or_a_dead_letter(
    suffix: str,
    in_batches: bool,
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
    """G3, G5, G7: under all faults and crashes no message is lost or handled twice, the queues become empty,
    and the messages of a FIFO group stay in order."""
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
    listener = sqs_listener(QUEUE + suffix, topic=TOPIC + suffix)

    async def work(events: list[Painted], delivery: Delivery) -> None:
        await asyncio.sleep(0.3)
        if any(event.source.version % 7 == 3 for event in events):
            raise TerminalError("can never succeed")
        if faults.occurs(failing):
            raise RuntimeError("did not succeed this time")
        world.effects.extend(delivery.messages)

    @listener
    async def on_one(event: Painted, delivery: Delivery) -> None:
        await work([event], delivery)

    @listener
    async def on_many(events: list[Painted], delivery: Delivery) -> None:
        await work(events, delivery)

    handler = on_many if in_batches else on_one

    async def history() -> None:
        broker = MemoryBroker(settings=QueueSettings(visibility=10, max_receive_count=5), faults=faults)
        sent = [message(subject=f"group-{number % 3}", version=number) for number in range(count)]
        async with broker, asyncio.timeout(3_600 * 24):
            [listener] = broker.listen(
                handler, middleware=[world.inbox], options=ListenerOptions(max_concurrency=3)
            )
            for each in sent:
                while not isinstance((await broker.topic(TOPIC + suffix).try_send([each]))[0], str):
                    pass
            for _ in range(crashes):
                await asyncio.sleep(1)
                await broker.crash(listener)
                [listener] = broker.listen(handler, middleware=[world.inbox])
            with suppress(ExceptionGroup):
                await broker.join()
        dead = broker.queue(listener.binding.dead_letter_queue).messages
        dead_ids = {stored.attributes["ce-id"]["StringValue"] for stored in dead}
        handled = [each.id for each in world.effects]
        assert {each.id for each in sent} == set(handled) | dead_ids
        assert len(handled) == len(set(handled))
        if suffix:
            for group in {each.subject for each in sent}:
                versions = [each.sequence or 0 for each in world.effects if each.subject == group]
                assert versions == sorted(versions)

    run_on_virtual_clock(history())
