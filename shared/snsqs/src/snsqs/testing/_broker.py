"""MemoryBroker: topics, queues and listeners of one simulated account."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from snsqs._batching import group_of, message_attributes, size_error
from snsqs._channel import MessageChannel
from snsqs._errors import MessagingError, SendFailed, TerminalError
from snsqs._handler import Binding, Delivery, HandlerFunction, MessageHandler, Middleware, bindings
from snsqs._listener import ListenerContainer
from snsqs._message import Message
from snsqs._options import ListenerOptions
from snsqs._outcome import OutcomeObserver
from snsqs._queue import ListenerQueues, QueueSettings
from snsqs.headers import DEAD_LETTER_REASON, ID
from snsqs.testing._client import MemoryQueueClient
from snsqs.testing._clock import NoProgress
from snsqs.testing._faults import Faults
from snsqs.testing._queue import MemoryQueue, RedrivePolicy, StoredMessage


@dataclass(eq=False)
class MemoryTopic(MessageChannel):
    """A topic as a MessageChannel: copies a message to every queue whose filter policy has its type."""

    name: str
    faults: Faults
    subscriptions: dict[str, tuple[MemoryQueue, list[str]]] = field(default_factory=dict)
    _ids: Iterator[int] = field(init=False, default_factory=itertools.count)

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message[str]) -> str | MessagingError:
        if (refused := size_error(message)) is not None:
            return refused
        if self.faults.occurs(self.faults.drop_entry):
            return SendFailed("dropped by a fault")
        message_id = f"{self.name}-{next(self._ids)}"
        for queue, types in self.subscriptions.values():
            if message.type in types:
                queue.put(
                    message_id, message.payload, message_attributes(message), group_of(message), message.id
                )
        return message_id


class _ErrorRecorder:
    """Outermost middleware: keeps the last error of each message, for `join`."""

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
    """Queue source of one listener, in place of a Topology."""

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
    """SNS and SQS of one account in memory, and real listeners that run on them.

    Topics and queues are created when they are named; a topic drops what it cannot deliver, so call
    `listen` before sending. Leaving the context stops the listeners and waits for their handlers.
    `settings` apply to all queues, `faults` to all topics and queues but dead-letter queues.
    """

    def __init__(self, *, settings: QueueSettings | None = None, faults: Faults | None = None) -> None:
        self.settings = settings or QueueSettings()
        self.faults = faults or Faults()
        self._topics: dict[str, MemoryTopic] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._running: dict[ListenerContainer, _Running] = {}
        self._recorder = _ErrorRecorder()

    def topic(self, name: str) -> MemoryTopic:
        """Return the topic of this name, a MessageChannel."""
        return self._topics.setdefault(name, MemoryTopic(name, self.faults))

    def queue(self, name: str) -> MemoryQueue:
        """Return the queue of this name; its `messages` may be inspected."""
        return self._queues.setdefault(name, MemoryQueue(name, self.faults))

    def subscribe(self, binding: Binding) -> tuple[MemoryQueue, MemoryQueue]:
        """Subscribe the binding's queue to its topic; return the queue and its dead-letter queue."""
        queue, dead_letters = self.queue(binding.queue), self.queue(binding.dead_letter_queue)
        dead_letters.faults = Faults()
        queue.redrive = RedrivePolicy(dead_letters, self.settings.max_receive_count)
        self.topic(binding.topic).subscriptions[binding.queue] = (queue, binding.event_types)
        return queue, dead_letters

    def listen(
        self,
        *handlers: HandlerFunction,
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
        observer: OutcomeObserver | None = None,
    ) -> list[ListenerContainer]:
        """Start a listener for each queue that the handlers name."""
        return [
            self.start(binding, middleware=middleware, options=options, observer=observer)
            for binding in bindings(handlers)
        ]

    def start(
        self,
        binding: Binding,
        *,
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
        observer: OutcomeObserver | None = None,
    ) -> ListenerContainer:
        """Start the listener of one binding."""
        self.subscribe(binding)
        consumer = _Consumer(self)
        container = ListenerContainer(
            consumer,
            binding,
            middleware=[self._recorder, *middleware],
            options=options,
            observer=observer,
        )
        self._running[container] = _Running(consumer, asyncio.create_task(container.run()))
        return container

    async def crash(self, container: ListenerContainer) -> None:
        """End a listener as `kill -9` would: nothing is completed, returned or acknowledged any more."""
        running = self._running.pop(container)
        running.consumer.crash()
        running.task.cancel()
        await asyncio.wait([running.task])

    async def join(self) -> None:
        """Wait until all queues except dead-letter queues are empty.

        Raises an ExceptionGroup with the causes of all dead letters: the errors of their handlers, or
        TerminalError with the reason. Raises NoProgress when a queue has messages and no running listener,
        and the error of a listener that ended with one.
        """
        while waiting := [queue for queue in self._working_queues() if not queue.is_empty]:
            for queue in waiting:
                self._raise_if_stuck(queue)
            await asyncio.sleep(0.5)
        if errors := [self._cause(each) for each in self._dead_letters()]:
            raise ExceptionGroup("messages ended as dead letters", errors)

    async def __aenter__(self) -> "MemoryBroker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in self._running:
            container.stop()
        await asyncio.gather(*(running.task for running in self._running.values()))

    def _raise_if_stuck(self, queue: MemoryQueue) -> None:
        listeners = [each for each in self._running if each.binding.queue == queue.name]
        for each in listeners:
            if self._running[each].task.done():
                self._running[each].task.result()  # raises its error
        if queue.has_visible and all(each.is_paused for each in listeners):
            reason = "its listener is paused" if listeners else "no listener"
            raise NoProgress(f"{queue.name} has messages and {reason}")

    def _cause(self, dead_letter: StoredMessage) -> Exception:
        """The handler's error; of a message that no handler received, the reason in its attributes."""
        raised = self._recorder.errors.get(_attribute(dead_letter, ID))
        return raised or TerminalError(_attribute(dead_letter, DEAD_LETTER_REASON) or "received too often")

    def _working_queues(self) -> list[MemoryQueue]:
        return [queue for queue in self._queues.values() if queue.redrive is not None]

    def _dead_letters(self) -> list[StoredMessage]:
        redrives = [queue.redrive for queue in self._queues.values() if queue.redrive is not None]
        return [message for redrive in redrives for message in redrive.dead_letters.messages]


def _attribute(stored: StoredMessage, name: str) -> str:
    return stored.attributes[name]["StringValue"] if name in stored.attributes else ""
