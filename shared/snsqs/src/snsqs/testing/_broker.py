"""MemoryBroker: topics, queues and listeners of one simulated account."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from snsqs._batching import size_error
from snsqs._entries import group_of, text_attributes
from snsqs._errors import MessagingError, SendFailed, TerminalError
from snsqs._handler import Binding, Delivery, MessageHandler, Middleware, bindings
from snsqs._listener import ListenerContainer, ListenerOptions
from snsqs._message import Message
from snsqs._queue import ListenerQueues, QueueSettings
from snsqs.headers import DEAD_LETTER_REASON, ID
from snsqs.testing._client import MemoryQueueClient
from snsqs.testing._clock import NothingWillHappen
from snsqs.testing._faults import Faults
from snsqs.testing._queue import MemoryQueue, Redrive, Stored


@dataclass(eq=False)
class MemoryTopic:
    """A topic as a MessageChannel: a copy for every subscribed queue whose filter takes the type."""

    name: str
    faults: Faults
    subscriptions: dict[str, tuple[MemoryQueue, list[str]]] = field(default_factory=dict)
    _ids: Any = field(default_factory=itertools.count)

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message[str]) -> str | MessagingError:
        if (refused := size_error(message)) is not None:
            return refused
        if self.faults.strikes(self.faults.drop_entry):
            return SendFailed("dropped by a fault")
        message_id = f"{self.name}-{next(self._ids)}"
        for queue, types in self.subscriptions.values():
            if message.type in types:
                queue.put(
                    message_id, message.payload, text_attributes(message), group_of(message), message.id
                )
        return message_id


class _Observer:
    """Outermost middleware: remembers the last error of each message, for `drain`."""

    provides = ()

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        try:
            await proceed(delivery)
        except Exception as error:
            self.errors.update(dict.fromkeys((message.id for message in delivery.messages), error))
            raise


class _Consumer:
    """Stands in for Topology: the queues as one listener has them, until it crashes."""

    def __init__(self, broker: "MemoryBroker") -> None:
        self.settings = broker.settings
        self._broker = broker
        self._clients: list[MemoryQueueClient] = []

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        clients = [MemoryQueueClient(queue) for queue in self._broker.subscribe(binding)]
        self._clients.extend(clients)
        return ListenerQueues(*clients)

    def crash(self) -> None:
        for client in self._clients:
            client.crash()


@dataclass(frozen=True)
class _Running:
    consumer: _Consumer
    task: "asyncio.Task[None]"


class MemoryBroker:
    """One account's SNS and SQS in memory, and the real listeners that run on it.

    Leaving its context stops the listeners, which drain.
    """

    def __init__(self, *, settings: QueueSettings | None = None, faults: Faults | None = None) -> None:
        self.settings = settings or QueueSettings()
        self.faults = faults or Faults()
        self._topics: dict[str, MemoryTopic] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._running: dict[ListenerContainer, _Running] = {}
        self._observer = _Observer()

    def topic(self, name: str) -> MemoryTopic:
        return self._topics.setdefault(name, MemoryTopic(name, self.faults))

    def queue(self, name: str) -> MemoryQueue:
        return self._queues.setdefault(name, MemoryQueue(name, self.faults))

    def subscribe(self, binding: Binding) -> tuple[MemoryQueue, MemoryQueue]:
        """The binding's queue, subscribed to its topic, and its dead-letter queue."""
        queue, dead_letters = self.queue(binding.queue), self.queue(binding.dead_letter_queue)
        dead_letters.faults = Faults()
        queue.redrive = Redrive(dead_letters, self.settings.max_receive_count)
        self.topic(binding.topic).subscriptions[binding.queue] = (queue, binding.event_types)
        return queue, dead_letters

    def listen(
        self,
        *handlers: Callable[..., Awaitable[None]],
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
    ) -> list[ListenerContainer]:
        """Runs the handlers' listeners, as a service would."""
        return [self.start(binding, middleware=middleware, options=options) for binding in bindings(handlers)]

    def start(
        self,
        binding: Binding,
        *,
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
    ) -> ListenerContainer:
        """Runs the listener of one binding."""
        self.subscribe(binding)
        consumer = _Consumer(self)
        container = ListenerContainer(
            consumer, binding, middleware=[self._observer, *middleware], options=options
        )
        self._running[container] = _Running(consumer, asyncio.create_task(container.run()))
        return container

    async def crash(self, container: ListenerContainer) -> None:
        """Ends a listener as kill -9 would: nothing is drained, given back or acknowledged any more."""
        running = self._running.pop(container)
        running.consumer.crash()
        running.task.cancel()
        await asyncio.wait([running.task])

    async def drain(self) -> None:
        """Returns when every queue but the dead letters is empty. Raises why messages ended as dead letters,
        as one group, and NothingWillHappen when messages wait that no listener will take."""
        while waiting := [queue for queue in self._working_queues() if not queue.is_empty]:
            for queue in waiting:
                self._check_that_somebody_takes(queue)
            await asyncio.sleep(0.5)
        if errors := [self._why(letter) for letter in self._dead_letters()]:
            raise ExceptionGroup("messages ended as dead letters", errors)

    async def __aenter__(self) -> "MemoryBroker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in self._running:
            container.stop()
        await asyncio.gather(*(running.task for running in self._running.values()))

    def _check_that_somebody_takes(self, queue: MemoryQueue) -> None:
        listeners = [each for each in self._running if each.binding.queue == queue.name]
        for each in listeners:
            if self._running[each].task.done():
                self._running[each].task.result()  # raises what it ended with
        if queue.has_visible and all(each.is_paused for each in listeners):
            what = "its listener is paused" if listeners else "nobody listens"
            raise NothingWillHappen(f"{queue.name} has messages, and {what}")

    def _why(self, letter: Stored) -> Exception:
        """What the handler raised; of a message that no handler was given, the reason that it died with."""
        raised = self._observer.errors.get(_text(letter, ID))
        return raised or TerminalError(_text(letter, DEAD_LETTER_REASON) or "received too often")

    def _working_queues(self) -> list[MemoryQueue]:
        return [queue for queue in self._queues.values() if queue.redrive is not None]

    def _dead_letters(self) -> list[Stored]:
        redrives = [queue.redrive for queue in self._queues.values() if queue.redrive is not None]
        return [letter for redrive in redrives for letter in redrive.dead_letters.messages]


def _text(stored: Stored, name: str) -> str:
    return stored.attributes[name]["StringValue"] if name in stored.attributes else ""
