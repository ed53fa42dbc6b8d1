"""PollingLoop on the virtual clock."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from snsqs.background import PollingLoop
from snsqs.testing import run_on_virtual_clock

INTERVAL = 100.0
MAX_BACKOFF = 1_000.0


class Work:
    """Work that records the time of each round and ends it with the next of the given outcomes."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.rounds: list[float] = []
        self._outcomes = list(outcomes)

    async def __call__(self) -> bool:
        self.rounds.append(asyncio.get_running_loop().time())
        outcome = self._outcomes.pop(0) if self._outcomes else False
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def loop_of(work: Work, *, wake: asyncio.Event | None = None, wake_ends_backoff: bool = False) -> PollingLoop:
    return PollingLoop(
        "test",
        work,
        interval=INTERVAL,
        retry_on=(ConnectionError,),
        max_backoff=MAX_BACKOFF,
        wake=wake,
        wake_ends_backoff=wake_ends_backoff,
    )


def while_running(loop: PollingLoop, body: Callable[[], Awaitable[None]]) -> None:
    """Run the body beside the loop, on a clock that jumps to the next timer."""

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run())
            await body()
            loop.stop()

    run_on_virtual_clock(run())


def test_work_is_called_again_at_once_while_it_has_more() -> None:
    """Then once per interval."""
    work = Work(True, True)
    while_running(loop_of(work), lambda: asyncio.sleep(1.5 * INTERVAL))
    first = work.rounds[0]
    assert [time - first for time in work.rounds] == [0, 0, 0, INTERVAL]


def test_a_signal_starts_a_round_early() -> None:
    """The next one is due an interval later."""
    wake, work = asyncio.Event(), Work()

    async def signal() -> None:
        await asyncio.sleep(1)
        wake.set()
        await asyncio.sleep(1)

    while_running(loop_of(work, wake=wake), signal)
    assert [time - work.rounds[0] for time in work.rounds] == [0, 1]


def test_an_expected_error_is_retried_and_reported() -> None:
    """Until a round succeeds."""
    work = Work(ConnectionError("refused"), ConnectionError())
    loop = loop_of(work)
    reasons = []

    async def observe() -> None:
        while len(work.rounds) < 3:
            await asyncio.sleep(0.25)
            reasons.append(loop.degraded_reason)

    while_running(loop, observe)
    assert list(dict.fromkeys(reasons)) == ["refused", "ConnectionError", None]
    pauses = [later - earlier for earlier, later in zip(work.rounds, work.rounds[1:], strict=False)]
    assert pauses[0] <= 1
    assert all(0.5 <= pause <= 2 for pause in pauses[:2])


@pytest.mark.parametrize("wake_ends_backoff", [True, False])
def test_a_signal_ends_a_backoff_only_on_request(wake_ends_backoff: bool) -> None:
    """Otherwise frequent signals would overload a dependency that recovers."""
    wake, work = asyncio.Event(), Work(ConnectionError())

    async def signal() -> None:
        await asyncio.sleep(0.1)
        wake.set()
        await asyncio.sleep(0.1)

    while_running(loop_of(work, wake=wake, wake_ends_backoff=wake_ends_backoff), signal)
    assert len(work.rounds) == (2 if wake_ends_backoff else 1)


def test_any_other_error_ends_the_loop() -> None:
    """It is a defect."""
    with pytest.raises(ZeroDivisionError):
        run_on_virtual_clock(loop_of(Work(ZeroDivisionError())).run())
