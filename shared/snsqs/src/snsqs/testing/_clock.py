"""A virtual clock: an event loop whose time jumps to the next timer when there is nothing to do now."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingWillHappen(Exception):
    """What is waited for will never come: every task waits for another one and no timer is set, or nobody
    takes the messages of a queue that is to be drained."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Runs what it is given as fast as the machine can; `asyncio.sleep(3600)` takes no time.

    Input and output from outside still work while there is nothing to wait for in between, but time does
    not stop for them: use it with what lives in memory.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds since the loop was made, as the program sees them."""
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingWillHappen("every task waits, and no timer is set")
        self._loop.jump(max(0.0, timeout))
        return ready


def run_on_virtual_clock(work: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, on a virtual clock. Raises NothingWillHappen where that would hang."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(work)
