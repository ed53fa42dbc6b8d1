"""MemoryQueue: what SQS rejects it rejects, and it forgets a deduplication id when SQS does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from snsqs import Binding, InvalidMessage, ListenerMisconfigured, bindings, sqs_listener
from snsqs.testing import MemoryBroker, MemoryQueue

from tests.snsqs.queues import Painted

FIFO = "queue.fifo"


async def send(queue: MemoryQueue, **options: Any) -> str:
    return await queue.send("body", {}, **{"group": "group", "deduplication": "1", **options})


@pytest.mark.virtual_clock
async def test_a_duplicate_does_not_extend_the_time_of_deduplication() -> None:
    """It is five minutes from the first message: of three, 200 seconds apart, the second is ignored."""
    queue = MemoryBroker().queue(FIFO)
    for _ in range(3):
        await send(queue)
        await asyncio.sleep(200)
    assert len(queue.messages) == 2


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        (FIFO, {"deduplication": ""}, "deduplication id is ''; set 1 to 128"),
        (FIFO, {"group": "order 7"}, "group id is 'order 7'"),
        (FIFO, {"group": "Müller"}, "group id is 'Müller'"),
        (FIFO, {"group": "x" * 129}, "group id is 'xxx"),
        ("queue", {"group": "a b"}, "group id is 'a b'"),
    ],
)
@pytest.mark.virtual_clock
async def test_ids_that_sqs_rejects_are_errors(name: str, options: dict[str, str], reason: str) -> None:
    """Otherwise all messages without an id are duplicates of the first."""
    queue = MemoryBroker().queue(name)
    with pytest.raises(InvalidMessage) as raised:
        await send(queue, **options)
    assert reason in str(raised.value)
    assert queue.is_empty


CALLS: list[tuple[Callable[[MemoryQueue], Awaitable[object]], str]] = [
    (
        lambda queue: queue.receive(limit=11, wait=0, visibility=30),
        "the number of messages is 11; SQS accepts",
    ),
    (lambda queue: queue.receive(limit=0, wait=0, visibility=30), "the number of messages is 0"),
    (
        lambda queue: queue.receive(limit=1, wait=21, visibility=30),
        "the wait time is 21; SQS accepts 0 to 20",
    ),
    (lambda queue: queue.receive(limit=1, wait=0, visibility=43_201), "the visibility timeout is 43201"),
    (lambda queue: queue.delete([]), "the number of entries is 0; SQS accepts 1 to 10"),
    (lambda queue: queue.delete(["handle"] * 11), "the number of entries is 11"),
    (lambda queue: queue.change_visibility({}), "the number of entries is 0"),
    (lambda queue: queue.change_visibility({"handle": 43_201}), "the visibility timeout is 43201"),
]


@pytest.mark.parametrize(("call", "reason"), CALLS)
@pytest.mark.virtual_clock
async def test_numbers_that_sqs_rejects_are_errors(
    call: Callable[[MemoryQueue], Awaitable[object]], reason: str
) -> None:
    """A listener that calls like this fails in its tests, not in production."""
    with pytest.raises(ValueError, match=reason):
        await call(MemoryBroker().queue("queue"))


def test_a_fifo_queue_on_a_standard_topic_is_an_error() -> None:
    """Also of a binding that was changed: AWS rejects the subscription, and local servers accept it."""

    @sqs_listener(FIFO)
    async def handler(event: Painted) -> None: ...

    [work] = bindings([handler])
    with pytest.raises(ListenerMisconfigured, match=r"queue\.fifo is a FIFO queue and topic a standard"):
        Binding(FIFO, {"topic": ["Painted"]}, work.handlers)
