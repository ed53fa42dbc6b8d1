"""Batches: concurrent callers' messages together in calls that SNS and SQS take."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from snsqs._errors import MessageTooLarge, MessagingError, SendFailed, TerminalError
from snsqs._message import Message
from snsqs._queue import MAX_BATCH_SIZE

BYTES = 240 * 1024
"""Of one call and of one message. AWS takes 256 KiB; what is left is for what its own count adds."""

ATTRIBUTES = 10
"""Attributes that SQS takes. SNS takes more, and then silently loses the message on its way to a queue."""

_RETRY_AFTER = (0.1, 0.3)
"""Seconds before what a call did not take is tried again."""

T = TypeVar("T")
Result = str | MessagingError
Call = Callable[[Sequence[Message[str]]], Awaitable[list[Result]]]
"""Sends at most ten messages and answers for each its id or its error. Raises when none was taken."""


def size_of(message: Message[str]) -> int:
    """Bytes as AWS counts them: the body in UTF-8, and name, data type and value of each attribute."""
    attributes = sum(
        len(name.encode()) + len("String") + len(value.encode()) for name, value in message.headers.items()
    )
    return len(message.payload.encode()) + attributes


def size_error(message: Message[str]) -> MessagingError | None:
    """Why no transport would take the message, or None."""
    if (size := size_of(message)) > BYTES:
        return MessageTooLarge(f"the message has {size} bytes, the limit is {BYTES}")
    if len(message.headers) > ATTRIBUTES:
        return MessageTooLarge(f"the message has {len(message.headers)} headers, the limit is {ATTRIBUTES}")
    return None


def batched(items: Sequence[T], size: int = MAX_BATCH_SIZE) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@dataclass(eq=False)
class _Pending:
    """A message and where its result is awaited."""

    message: Message[str]
    result: "asyncio.Future[Result]"


class Batcher:
    """Fills calls with the messages of all callers.

    A call is made when ten messages or 240 KiB are together, or `linger` seconds after the first of them.
    What a call left out, but may take later, is tried twice more; a call that failed as a whole is not,
    the SDK has tried that again already. With `in_order` there is one call at a time and no second try,
    because that would overtake.
    """

    def __init__(self, call: Call, *, in_order: bool = False, linger: float = 0.005, calls: int = 10) -> None:
        self._call = call
        self._in_order = in_order
        self._linger = linger
        self._calls = asyncio.Semaphore(1 if in_order else calls)
        self._pending: list[_Pending] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Message[str]]) -> list[Result]:
        """For each message its id or the error that kept it from being sent, in the order given."""
        return list(await asyncio.gather(*(self._result_of(message) for message in messages)))

    def _result_of(self, message: Message[str]) -> "asyncio.Future[Result]":
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if (refused := size_error(message)) is not None:
            result.set_result(refused)
            return result
        size = size_of(message)
        if self._bytes + size > BYTES:
            self._flush()
        self._pending.append(_Pending(message, result))
        self._bytes += size
        if len(self._pending) == MAX_BATCH_SIZE:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self._flush)
        return result

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        batch, self._pending, self._bytes, self._timer = self._pending, [], 0, None
        if batch:
            task = asyncio.create_task(self._send(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, batch: list[_Pending]) -> None:
        """Answers every caller, whatever happens; so nobody has to await this task."""
        results: list[Result] = [SendFailed("not sent: cancelled")] * len(batch)
        try:
            async with self._calls:
                results = await self._results([pending.message for pending in batch])
        except Exception as error:
            failure = error if isinstance(error, MessagingError) else SendFailed(f"not sent: {error!r}")
            results = [failure] * len(batch)
        finally:
            for pending, result in zip(batch, results, strict=True):
                if not pending.result.done():  # its caller may have been cancelled
                    pending.result.set_result(result)

    async def _results(self, messages: Sequence[Message[str]]) -> list[Result]:
        results = await self._call(messages)
        for pause in () if self._in_order else _RETRY_AFTER:
            again = [place for place, result in enumerate(results) if _may_succeed_later(result)]
            if not again:
                break
            await asyncio.sleep(pause)
            later = await self._call([messages[place] for place in again])
            for place, result in zip(again, later, strict=True):
                results[place] = result
        return results


def _may_succeed_later(result: Result) -> bool:
    return isinstance(result, MessagingError) and not isinstance(result, TerminalError)
