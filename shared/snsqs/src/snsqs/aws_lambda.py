"""AWS Lambda: the handlers of a service, invoked with batches from SQS.

    from snsqs.aws_lambda import lambda_handler

    handler = lambda_handler([on_order_completed])

`handler` is the function's entry point. Its event source mapping needs `ReportBatchItemFailures`.
"""

import asyncio
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, TypeAlias

from snsqs._arguments import require_instance, require_opener
from snsqs._binding import Binding, bindings
from snsqs._consumer import Consumer
from snsqs._dispatch import message_handler
from snsqs._errors import ListenerMisconfigured
from snsqs._handler import HandlerFunction, Middleware
from snsqs._invocation import InvocationQueue, ReportingQueue, received
from snsqs._listener import QueueSource
from snsqs._options import ListenerOptions, changed_options, validate_observer, validate_options
from snsqs._outcome import OutcomeObserver
from snsqs._queue import ListenerQueues, Received, validate_queues
from snsqs._settings import QueueSettings
from snsqs._threads import HandlerThreads

__all__ = [
    "LambdaHandler",
    "OpenMiddleware",
    "OpenTopology",
    "lambda_handler",
]

OpenMiddleware: TypeAlias = Callable[[], AbstractAsyncContextManager[Sequence[Middleware]]]
"""Opens what middleware needs, such as a database, and returns the middleware."""

OpenTopology: TypeAlias = Callable[[], AbstractAsyncContextManager[QueueSource]]
"""Opens the clients of a Topology, and returns it."""

_MARGIN = 1.0
"""Seconds before the timeout of the function at which handlers are cancelled."""
_NO_TIMEOUT = 15 * 60.0
"""Seconds of an invocation whose context has no timeout: the longest of Lambda."""
_GRACE = 0.5
"""Seconds after that at which the invocation ends without the threads that have not returned."""
_POLL_INTERVAL = 0.002

_NO_EFFECT = {
    "max_pollers": "Lambda receives the messages",
    "max_messages_per_poll": "Lambda receives the messages",
    "poll_timeout": "Lambda receives the messages",
    "max_poll_backoff": "Lambda receives the messages",
    "shutdown_timeout": "an invocation ends with its messages",
}
"""Options without an effect, and why."""
_BACKOFF = ("min_backoff", "max_backoff", "backoff")


class LambdaHandler:
    """Entry point of a Lambda function: handles the messages of an SQS event, and returns those that failed
    as `{"batchItemFailures": [{"itemIdentifier": …}]}`.

    Handlers, middleware and outcomes are those of a ListenerContainer, with these differences:

    - A message that fails is reported. It is delivered again after the visibility timeout of its queue, and
      with a `topology` after the time of the backoff or of RetryAfter.
    - So is a message that cannot succeed, and the queue's redrive policy moves it to the dead-letter queue
      without a reason. With a `topology` it is sent there at once with the reason, and not reported.
    - After a failure in a FIFO group the other messages of the group are reported, too, and not handled.
    - Handlers are cancelled a second before the function's timeout; a `def` handler that is not finished is
      abandoned.
    - Without `options`, `Unavailable` is not retried in place.

    The event loop and opened resources are kept between invocations.
    """

    def __init__(
        self,
        handlers: Iterable[HandlerFunction | Binding],
        *,
        middleware: Sequence[Middleware] | OpenMiddleware = (),
        options: ListenerOptions | None = None,
        topology: OpenTopology | None = None,
        observer: OutcomeObserver | None = None,
    ) -> None:
        """Raises ListenerMisconfigured, also for options and settings of queues that have no effect.

        Args:
            handlers: functions marked `@sqs_listener`. The queue of a record selects among them.
            middleware: middleware, or a function that opens it, which is called at the first invocation.
            options: as of a ListenerContainer, without those of polling and shutdown; in place of those of
                `@sqs_listener`.
            topology: opens a Topology, which finds queues and dead-letter queues and compares the queues with
                the settings of their handlers. The function then needs permission to change the visibility of
                messages and to send to the dead-letter queues.
            observer: called for every outcome.
        """
        self._bindings = {binding.queue: binding for binding in bindings(handlers)}
        self._open_middleware = middleware
        default = ListenerOptions(max_unavailable=0)
        self._options = {each.queue: options or each.options or default for each in self._bindings.values()}
        self._open_topology = topology
        self._observer = observer
        self._middleware: Sequence[Middleware] | None = None
        self._topology: QueueSource | None = None
        self._queues: dict[str, ListenerQueues] = {}
        self._runner: asyncio.Runner | None = None
        self._resources = AsyncExitStack()
        self._validate()

    def _validate(self) -> None:
        validate_observer(self._observer)
        if callable(self._open_middleware):
            require_opener(self._open_middleware, "LambdaHandler: middleware")
        if self._open_topology is not None:
            require_opener(self._open_topology, "LambdaHandler: topology")
        for binding in self._bindings.values():
            require_instance(self._options[binding.queue], ListenerOptions, "LambdaHandler: options")
            self._validate_options(self._options[binding.queue])
            validate_options(binding, self._options[binding.queue])
            if binding.settings != QueueSettings() and self._open_topology is None:
                raise ListenerMisconfigured(
                    f"LambdaHandler: the settings of {binding.queue} have no effect, because nothing "
                    "compares the queue with them; give a `topology`, or remove them from the handlers"
                )
            if not callable(self._open_middleware):
                message_handler(binding, self._open_middleware)

    def _validate_options(self, options: ListenerOptions) -> None:
        for name in changed_options(options):
            value = getattr(options, name)
            if name in _NO_EFFECT:
                raise ListenerMisconfigured(
                    f"LambdaHandler: {name} is {value!r} without an effect, because {_NO_EFFECT[name]}; "
                    "leave it unset"
                )
            if name in _BACKOFF and self._open_topology is None:
                raise ListenerMisconfigured(
                    f"LambdaHandler: {name} is {value!r} without an effect, because nothing sets the time of "
                    "the next receive; give a `topology`, or leave it unset"
                )

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
        middleware = self._middleware
        if middleware is None:
            middleware = await self._open()
        by_queue: dict[str, list[Received]] = {}
        for record in records:
            name = record["eventSourceARN"].rpartition(":")[2]
            by_queue.setdefault(name, []).append(received(record))
        done: set[str] = set()
        for name, messages in by_queue.items():
            done |= await self._handled(self._binding(name), messages, middleware, seconds)
        return [record["messageId"] for record in records if record["receiptHandle"] not in done]

    async def _open(self) -> Sequence[Middleware]:
        """Open middleware and topology. What is opened is closed again if one of them fails."""
        async with AsyncExitStack() as opening:
            middleware = self._open_middleware
            if callable(middleware):
                middleware = await opening.enter_async_context(middleware())
            if self._open_topology is not None:
                self._topology = await opening.enter_async_context(self._open_topology())
            self._resources = opening.pop_all()
        self._middleware = middleware
        return middleware

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
        options, clock = self._options[binding.queue], asyncio.get_running_loop().time
        threads = HandlerThreads(options.max_concurrency)
        limit = min(seconds, options.max_lease_extension or math.inf)
        options = dataclasses.replace(options, max_lease_extension=limit, shutdown_timeout=0)
        queues = await self._queues_of(binding)
        validate_queues(middleware, queues)
        batch = InvocationQueue(queues.queue)
        consumer = Consumer(
            # Leases that reach their limit at once are not extended: Lambda's own has begun before.
            dataclasses.replace(queues, queue=batch, visibility=math.ceil(limit)),
            binding,
            message_handler(binding, middleware, threads),
            options,
            threads,
            self._observer,
        )
        deadline = clock() + seconds + _GRACE
        async with consumer.running(returns_waiting=False):
            consumer.add(messages)
            while (consumer.in_flight or consumer.buffered) and clock() < deadline:
                await asyncio.sleep(_POLL_INTERVAL)
        return batch.deleted

    async def _queues_of(self, binding: Binding) -> ListenerQueues:
        if binding.queue not in self._queues:
            if self._topology is None:
                reporting = ReportingQueue(binding.queue)
                self._queues[binding.queue] = ListenerQueues(reporting, reporting)
            else:
                self._queues[binding.queue] = await self._topology.listener_queues(binding)
        return self._queues[binding.queue]


lambda_handler = LambdaHandler
"""`LambdaHandler`, for its use as a function that returns the entry point."""


def _seconds_left(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    seconds = _NO_TIMEOUT if remaining is None else remaining() / 1000
    return max(seconds - _MARGIN, 0.1)
