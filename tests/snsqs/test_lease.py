"""Leases of messages that a program receives itself, without a listener."""

import asyncio
from collections.abc import Mapping

import pytest
from snsqs.queues import BatchOutcome, LeaseKeeper
from snsqs.testing import Faults, MemoryQueue, run_on_virtual_clock

_VISIBILITY = 30


async def _hold(queue: MemoryQueue) -> LeaseKeeper:
    """Return the keeper of a lease on the only message of the queue."""
    await queue.send("body", {}, group=None, deduplication="")
    [received] = await queue.receive(limit=10, wait=0, visibility=_VISIBILITY)
    keeper = LeaseKeeper(queue, _VISIBILITY)
    keeper.track(received)
    assert not queue.has_visible
    return keeper


def test_a_message_is_requeued_when_the_body_raises() -> None:
    """At once; and the error is raised as it is."""

    async def scenario() -> None:
        queue = MemoryQueue("held", Faults())
        keeper = await _hold(queue)
        with pytest.raises(KeyError):
            async with keeper.extending():
                raise KeyError
        assert queue.has_visible

    run_on_virtual_clock(scenario())


def test_a_message_is_requeued_when_the_body_is_cancelled() -> None:
    """Its lease was extended until then: it was hidden for longer than its visibility timeout."""

    async def scenario() -> None:
        queue = MemoryQueue("held", Faults())
        keeper = await _hold(queue)

        async def body() -> None:
            async with keeper.extending():
                await asyncio.sleep(1000)

        task = asyncio.create_task(body())
        await asyncio.sleep(99)
        assert not queue.has_visible
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queue.has_visible

    run_on_virtual_clock(scenario())


class _Hanging(MemoryQueue):
    """A queue that does not answer when visibility timeouts are changed."""

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_queue_that_hangs_does_not_withhold_the_error() -> None:
    """The message becomes visible when its visibility timeout ends."""

    async def scenario() -> None:
        queue = _Hanging("hanging", Faults())
        keeper = await _hold(queue)
        with pytest.raises(KeyError):
            async with asyncio.timeout(10), keeper.extending():
                raise KeyError

    run_on_virtual_clock(scenario())
