"""Virtual clock: an event loop whose time jumps to the next timer when no task can run."""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NoProgress(Exception):
    """Waiting would never end: every task waits and no timer is set, or messages have no listener."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Event loop on which `asyncio.sleep(3600)` takes no time.

    Time does not wait for input and output of other processes, so use it for programs in memory only. It
    waits for threads (`def` handlers, `asyncio.to_thread`): while one runs, the clock has real speed.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._in_threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._now

    @property
    def has_threads(self) -> bool:
        """True while a function runs in a thread."""
        return self._in_threads > 0

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._thread_returned)
        return future

    def _thread_returned(self, _: "asyncio.Future[Any]") -> None:
        self._in_threads -= 1

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.has_threads:
            began = time.monotonic()
            ready = super().select(timeout)
            self._loop.advance(time.monotonic() - began)
            return ready
        if timeout is None:
            raise NoProgress("every task waits, and no timer is set")
        self._loop.advance(max(0.0, timeout))
        return ready


def run_on_virtual_clock(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, on a virtual clock. Raises NoProgress instead of hanging."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
