"""Batch calls of SNS and SQS: their entries and results, and a Batcher that fills them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snsqs._errors import MessagingError, SendFailed, TerminalError, error_reason
from snsqs._message import Message
from snsqs._queue import MAX_BATCH_SIZE
from snsqs._trace_header import aws_trace_header
from snsqs._validation import DEFAULT_MAX_BYTES, Destination, deduplication_of
from snsqs.aws import error_code
from snsqs.headers import TRACEPARENT

CALL_TIMEOUT = 3.5
"""Seconds for one call with its retries and lookups: less than the publish timeout of a relay (5 s)."""

_RETRY_DELAYS = (0.1, 0.3)
"""Seconds before the failed entries of a call are sent again."""

Result = str | MessagingError
"""Message id assigned by the transport, or the error of a message that was not sent."""

Call = Callable[[Sequence[Message[str]]], Awaitable[list[Result]]]
"""Sends at most ten messages and returns their results. Raises when no message was sent."""

_REJECTIONS = {
    "AWS.SimpleQueueService.BatchRequestTooLong",
    "BatchRequestTooLong",
    "InvalidMessageContents",
    "InvalidParameter",
    "InvalidParameterException",
    "InvalidParameterValue",
    "ParameterValueInvalid",
    "ValidationError",
    "ValidationException",
}


class CallRejected(MessagingError):
    """AWS rejected a whole call for the content of one of its messages, without naming it."""


class EntryRefused(TerminalError):
    """The transport refuses this message, for example for a character that it does not accept."""


def message_attributes(message: Message[str]) -> dict[str, Any]:
    """Return the headers as message attributes of SNS and SQS, without empty ones, which AWS refuses."""
    return {
        name: {"DataType": "String", "StringValue": value} for name, value in message.headers.items() if value
    }


def batch_entries(messages: Sequence[Message[str]], destination: Destination) -> list[Any]:
    """Return the entries of a batch call, whose ids are their positions."""
    body = "Message" if destination.is_topic else "MessageBody"
    return [
        {"Id": str(position), body: message.payload, "MessageAttributes": message_attributes(message)}
        | delivery_parameters(message, destination)
        | (trace_parameters(message) if destination.has_trace_header else {})
        for position, message in enumerate(messages)
    ]


def delivery_parameters(message: Message[str], destination: Destination) -> dict[str, Any]:
    """Return group, deduplication id and delay of a message as parameters of SNS and SQS."""
    if not (destination.is_fifo or message.has_delivery_options):
        return {}
    parameters: dict[str, Any] = {}
    if (group := destination.group_of(message)) is not None:
        parameters["MessageGroupId"] = group
    if destination.is_fifo:
        parameters["MessageDeduplicationId"] = deduplication_of(message)
    if message.delay is not None:
        parameters["DelaySeconds"] = message.delay
    return parameters


def trace_parameters(message: Message[str]) -> dict[str, Any]:
    """Return the traceparent of a message as the system attribute of SQS, which does not count as one of the
    ten attributes."""
    header = aws_trace_header(message.headers.get(TRACEPARENT, ""))
    if header is None:
        return {}
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}}


def is_rejection(error: BaseException) -> bool:
    """Return whether AWS rejected a call for the messages in it, not for its topic or queue."""
    return error_code(error) in _REJECTIONS and not any(
        name in str(error) for name in ("TopicArn", "QueueUrl")
    )


def batch_results(response: Mapping[str, Any], count: int) -> list[Result]:
    """Return the result of each of the `count` entries of a batch call, by their positions."""
    results: list[Result] = [SendFailed("the response does not mention this message")] * count
    for sent in response.get("Successful", ()):
        results[int(sent["Id"])] = sent["MessageId"]
    for failed in response.get("Failed", ()):
        kind = EntryRefused if failed.get("SenderFault") else SendFailed
        results[int(failed["Id"])] = kind(f"{failed['Code']}: {failed.get('Message', '')}")
    return results


@dataclass(eq=False)
class _Pending:
    """A message, and the future that its sender awaits."""

    message: Message[str]
    result: "asyncio.Future[Result]"


class Batcher:
    """Fills batch calls with the messages of concurrent senders.

    A call is made when ten messages or 240 KiB (`max_bytes`, where that is more) are pending, or `linger`
    seconds after the first of them, with at most `calls` at the same time. Entries that failed and may
    succeed later are sent twice more; a call that failed as a whole is not, because the SDK has already
    retried it. The messages of a call that is rejected for one of them are sent one by one. On FIFO there is
    one call at a time and no retry, which could overtake.
    """

    def __init__(
        self, call: Call, destination: Destination, *, linger: float = 0.005, calls: int = 10
    ) -> None:
        self._call = call
        self._destination = destination
        self._max_bytes = max(destination.max_bytes, DEFAULT_MAX_BYTES)
        self._in_order = destination.is_fifo
        self._linger = linger
        self._calls = asyncio.Semaphore(1 if self._in_order else calls)
        self._pending: list[_Pending] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Message[str]]) -> list[Result]:
        """Send messages and return their results in the same order."""
        return list(await asyncio.gather(*(self._result_of(message) for message in messages)))

    def _result_of(self, message: Message[str]) -> "asyncio.Future[Result]":
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        try:
            size = self._destination.validate(message)
        except TerminalError as error:
            result.set_result(error)
            return result
        if self._bytes + size > self._max_bytes:
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
        """Send a batch. Sets every result in any case, so that no sender waits forever."""
        results: list[Result] = [SendFailed("not sent: cancelled")] * len(batch)
        try:
            async with self._calls:
                results = await self._results([pending.message for pending in batch])
        except Exception as error:
            failure = (
                error if isinstance(error, MessagingError) else SendFailed(f"not sent: {error_reason(error)}")
            )
            results = [failure] * len(batch)
        finally:
            for pending, result in zip(batch, results, strict=True):
                if not pending.result.done():  # its sender may have been cancelled
                    pending.result.set_result(result)

    async def _results(self, messages: Sequence[Message[str]]) -> list[Result]:
        results = await self._call_or_isolate(messages)
        for pause in () if self._in_order else _RETRY_DELAYS:
            again = [place for place, result in enumerate(results) if _may_succeed_later(result)]
            if not again:
                break
            await asyncio.sleep(pause)
            try:
                later = await self._call_or_isolate([messages[place] for place in again])
            except MessagingError:  # of a whole call; the results of the others stand
                break
            for place, result in zip(again, later, strict=True):
                results[place] = result
        return results

    async def _call_or_isolate(self, messages: Sequence[Message[str]]) -> list[Result]:
        try:
            return await self._call(messages)
        except CallRejected as error:
            if len(messages) == 1:
                return [EntryRefused(str(error))]
        return [await self._send_alone(message) for message in messages]

    async def _send_alone(self, message: Message[str]) -> Result:
        try:
            [result] = await self._call([message])
        except CallRejected as error:
            return EntryRefused(str(error))
        except MessagingError as error:
            return error
        return result


def _may_succeed_later(result: Result) -> bool:
    return isinstance(result, MessagingError) and not isinstance(result, TerminalError)
