"""HandlerThreads: the threads in which the `def` handlers of a listener run."""

import asyncio
import contextvars
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from snsqs._errors import HandlerFailed, error_reason

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class HandlerThreads:
    """A bounded pool of threads, started when they are needed.

    A thread cannot be cancelled. So a cancelled call logs that, waits until its thread returns, and only then
    raises CancelledError: its slot is not given to another call, and the resources of the function are not
    closed while it uses them. `abandon` ends all such waits.
    """

    def __init__(self, size: int = 10) -> None:
        self._pool = _DaemonThreads(size)
        self._abandoned = asyncio.Event()

    async def run(self, name: str, function: Callable[[], T]) -> T:
        """Return the result of the function, called in a thread with this task's context variables."""
        in_context = partial(contextvars.copy_context().run, function)
        call = asyncio.get_running_loop().run_in_executor(self._pool, in_context)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            if not call.done():
                await self._wait_for(call, name)
            raise

    def abandon(self) -> None:
        """Wait for no thread any more. Those that are idle end; the others end with their function, or with
        the process."""
        self._abandoned.set()
        self._pool.close()

    async def _wait_for(self, call: "asyncio.Future[Any]", name: str) -> None:
        about = {"handler": name}
        log.error("handler thread overdue, it keeps its slot until it returns", extra=about)
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        while not call.done() and not self._abandoned.is_set():
            try:
                await asyncio.wait({call, abandoned}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:  # by another limit; the caller is cancelled already
                continue
        abandoned.cancel()
        if not call.done():
            log.error("handler thread abandoned", extra=about)
        else:
            log.warning("overdue handler thread returned", exc_info=call.exception(), extra=about)


class _DaemonThreads(Executor):
    """Threads that do not keep the process from ending, unlike those of ThreadPoolExecutor: a handler that
    hangs must not stop a deployment."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        if not self._idle.acquire(blocking=False) and self._started < self._size:
            name = f"snsqs-handler-{self._started + 1}"
            threading.Thread(target=self._work, name=name, daemon=True).start()  # may raise RuntimeError
            self._started += 1
        self._calls.put(partial(_run, future, partial(function, *args, **kwargs)))
        return future

    def close(self) -> None:
        """End the threads once they are idle."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # keeps its event alive while the thread is idle
            self._idle.release()


def _run(future: "Future[T]", function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        # asyncio cannot pass on StopIteration.
        future.set_exception(_failure(error) if isinstance(error, StopIteration) else error)
    except BaseException as error:  # of the thread, which must not end the process
        future.set_exception(_failure(error))
    else:
        future.set_result(result)


def _failure(error: BaseException) -> HandlerFailed:
    failure = HandlerFailed(error_reason(error))
    failure.__cause__ = error
    return failure
