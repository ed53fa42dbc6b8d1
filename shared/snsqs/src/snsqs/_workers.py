"""Workers: tasks that end together, also if one of them ignores its cancellation."""

import asyncio
import logging
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

_CANCEL_TIMEOUT = 2.0


async def supervise(workers: Sequence["asyncio.Task[None]"], *, on_cancel: Callable[[], None]) -> None:
    """Wait for the workers, and raise the error of one that fails. Cancel the others then, and all when this
    is cancelled, after a call of `on_cancel`.

    A worker that runs on after its cancellation is abandoned after two seconds, unlike in a task group: it
    must not keep a listener from ending.
    """
    try:
        ended, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in ended:
            if not worker.cancelled():
                worker.result()
    finally:
        if running := [worker for worker in workers if not worker.done()]:
            on_cancel()
            for worker in running:
                worker.cancel()
            _, ignoring = await asyncio.wait(running, timeout=_CANCEL_TIMEOUT)
            if ignoring:
                log.error("handlers ignore their cancellation", extra={"count": len(ignoring)})
