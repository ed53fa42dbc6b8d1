"""AWS Lambda: the handlers of a service, invoked with batches from SQS.

    from snsqs.aws_lambda import lambda_handler

    handler = lambda_handler([on_order_completed])

`handler` is the function's entry point. Its event source mapping needs `ReportBatchItemFailures`.
"""

import asyncio
import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeAlias

from snsqs._consumer import Consumer
from snsqs._errors import ListenerMisconfigured
from snsqs._handler import Binding, HandlerFunction, Middleware, bindings, message_handler
from snsqs._listener import QueueSource
from snsqs._options import ListenerOptions
from snsqs._outcome import OutcomeObserver
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT, BatchOutcome, ListenerQueues, RawAttributes, Received
from snsqs._threads import HandlerThreads

__all__ = [
    "LambdaHandler",
    "OpenMiddleware",
    "OpenSource",
    "lambda_handler",
]

OpenMiddleware: TypeAlias = Callable[[], AbstractAsyncContextManager[Sequence[Middleware]]]
"""Opens what middleware needs, such as a database, and returns the middleware."""

OpenSource: TypeAlias = Callable[[], AbstractAsyncContextManager[QueueSource]]
"""Opens the clients of a Topology."""

_MARGIN = 1.0
"""Seconds before the timeout of the function at which handlers are cancelled."""
_NO_TIMEOUT = 15 * 60.0
"""Seconds of an invocation whose context has no timeout: the longest of Lambda."""
_POLL_INTERVAL = 0.002


class LambdaHandler:
    """Entry point of a Lambda function: handles the messages of an SQS event, and returns those that failed
    as `{"batchItemFailures": [{"itemIdentifier": …}]}`.

    Handlers, middleware and outcomes are those of a ListenerContainer, with these differences:

    - A message that fails is reported. It is delivered again after the visibility timeout of its queue.
    - So is a message that cannot succeed, unless `dead_letters` is given: the queue's redrive policy moves it
      to the dead-letter queue, without a reason.
    - After a failure in a FIFO group the other messages of the group are reported, too, and not handled.
    - Handlers are cancelled a second before the function's timeout.
    - `Unavailable` is not retried in place, unless `options` have `max_unavailable`.

    The event loop and opened resources are kept between invocations.
    """

    def __init__(
        self,
        handlers: Iterable[HandlerFunction | Binding],
        *,
        middleware: Sequence[Middleware] | OpenMiddleware = (),
        options: ListenerOptions | None = None,
        dead_letters: OpenSource | None = None,
        observer: OutcomeObserver | None = None,
    ) -> None:
        """Raises ListenerMisconfigured.

        Args:
            handlers: functions marked `@sqs_listener`. The queue of a record selects among them.
            middleware: middleware, or a function that opens it, which is called at the first invocation.
            options: as of a ListenerContainer; those of polling, leases and backoff have no effect.
            dead_letters: opens a Topology that finds the dead-letter queues. Messages that cannot succeed,
                or fail at their last receive, are sent there with the reason.
            observer: called for every outcome.
        """
        self._bindings = {binding.queue: binding for binding in bindings(handlers)}
        self._open_middleware = middleware
        self._options = options or ListenerOptions(max_unavailable=0)
        self._open_source = dead_letters
        self._observer = observer
        self._middleware: Sequence[Middleware] | None = None
        self._source: QueueSource | None = None
        self._runner: asyncio.Runner | None = None
        self._resources = AsyncExitStack()
        if not callable(middleware):
            for binding in self._bindings.values():
                message_handler(binding, middleware)

    def __call__(self, event: Mapping[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
        """Handle an SQS event. Raises ListenerMisconfigured for a queue without handlers."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        failed = self._runner.run(self._handle(event["Records"], _seconds_left(context)))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def close(self) -> None:
        """Close the event loop and opened resources. For tests; Lambda ends the process instead."""
        if self._runner is not None:
            self._runner.run(self._resources.aclose())
            self._runner.close()
            self._runner = None

    def __enter__(self) -> "LambdaHandler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _handle(self, records: Sequence[Mapping[str, Any]], seconds: float) -> list[str]:
        """Return the ids of the messages that failed, in the order of the records."""
        if self._middleware is None:
            self._middleware = await self._opened_middleware()
            if self._open_source is not None:
                self._source = await self._resources.enter_async_context(self._open_source())
        by_queue: dict[str, list[Received]] = {}
        for record in records:
            name = record["eventSourceARN"].rpartition(":")[2]
            by_queue.setdefault(name, []).append(_received(record))
        done: set[str] = set()
        for name, messages in by_queue.items():
            done |= await self._handled(self._binding(name), messages, self._middleware, seconds)
        return [record["messageId"] for record in records if record["receiptHandle"] not in done]

    async def _opened_middleware(self) -> Sequence[Middleware]:
        if callable(self._open_middleware):
            return await self._resources.enter_async_context(self._open_middleware())
        return self._open_middleware

    def _binding(self, queue: str) -> Binding:
        if queue not in self._bindings:
            known = ", ".join(self._bindings)
            raise ListenerMisconfigured(
                f"{queue}: no handler; handlers listen on {known}. Add a handler, or remove the event source "
                "mapping of the queue"
            )
        return self._bindings[queue]

    async def _handled(
        self, binding: Binding, messages: list[Received], middleware: Sequence[Middleware], seconds: float
    ) -> set[str]:
        """Handle messages of one queue. Return the receipt handles of those that are done."""
        queue, threads = _Batch(binding.queue), HandlerThreads(self._options.max_concurrency)
        count = binding.settings.max_receive_count or DEFAULT_MAX_RECEIVE_COUNT
        queues = ListenerQueues(queue, _Batch(binding.dead_letter_queue), max_receive_count=count)
        if self._source is not None:
            queues = await self._source.listener_queues(binding)
        options = dataclasses.replace(self._options, max_lease_extension=seconds)
        consumer = Consumer(
            dataclasses.replace(queues, queue=queue, visibility=math.ceil(seconds)),
            binding,
            message_handler(binding, middleware, threads),
            options,
            threads,
            self._observer,
        )
        async with consumer.running():
            consumer.add(messages)
            while consumer.in_flight or consumer.buffered:
                await asyncio.sleep(_POLL_INTERVAL)
        return queue.deleted


lambda_handler = LambdaHandler
"""`LambdaHandler`, for its use as a function that returns the entry point."""


# ruff: noqa: ARG002 - a batch has all messages from the start, and needs no leases
class _Batch:
    """Queue of one invocation. What is deleted is done; Lambda makes everything else visible again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deleted: set[str] = set()

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        return []

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        self.deleted.update(handles)
        return BatchOutcome()

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        return BatchOutcome()

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        raise ConnectionError("a dead letter cannot be sent without dead_letters=…: it is reported to Lambda")


def _seconds_left(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    seconds = _NO_TIMEOUT if remaining is None else remaining() / 1000
    return max(seconds - _MARGIN, 0.1)


def _received(record: Mapping[str, Any]) -> Received:
    system = record.get("attributes", {})
    return Received(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        raw_attributes={
            name: _attribute(value) for name, value in record.get("messageAttributes", {}).items()
        },
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        leased_at=asyncio.get_running_loop().time(),
        group=system.get("MessageGroupId"),
        trace_header=system.get("AWSTraceHeader"),
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC)
        if "SentTimestamp" in system
        else None,
    )


def _attribute(value: Mapping[str, Any]) -> Any:
    """Lambda spells the members of an attribute in lower case, and encodes binary values."""
    if value.get("stringValue") is not None:
        return {"DataType": value["dataType"], "StringValue": value["stringValue"]}
    return {"DataType": value["dataType"], "BinaryValue": base64.b64decode(value.get("binaryValue", ""))}
