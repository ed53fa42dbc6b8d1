"""MemoryBroker: topics, queues and listeners of one simulated account."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

from snsqs._address import parse_address, queue_name
from snsqs._arguments import require_instance
from snsqs._binding import Binding, bindings
from snsqs._converter import JSON_CONVERTER, MessageConverter, message_of
from snsqs._errors import TerminalError, TopologyError
from snsqs._event import declared
from snsqs._handler import HandlerFunction, Middleware
from snsqs._listener import ListenerContainer
from snsqs._message import Message
from snsqs._options import ListenerOptions
from snsqs._outcome import MessageOutcome, OutcomeObserver
from snsqs._queue import DEFAULT_MAX_RECEIVE_COUNT
from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION, QueueSettings
from snsqs._validation import DEFAULT_MAX_BYTES
from snsqs.testing._channels import MemoryQueueChannel, MemoryTopic
from snsqs.testing._client import MemoryConsumer
from snsqs.testing._clock import NoProgress
from snsqs.testing._faults import Faults
from snsqs.testing._outbox import OutboxRelay
from snsqs.testing._queue import MemoryQueue, RedrivePolicy
from snsqs.testing._record import DeadLetter, Record, dead_letter

E = TypeVar("E")

_MAX_PAUSE = 0.5
"""Longest time, in seconds, between two checks of `join`."""


@dataclass(frozen=True)
class _Running:
    consumer: MemoryConsumer
    task: "asyncio.Task[None]"


class MemoryBroker:
    """SNS and SQS of one account in memory, and real listeners that run on them.

    Topics and queues are created when they are named; a topic drops what it cannot deliver, so call
    `listen` before sending. Leaving the context stops the listeners and waits for their handlers.
    """

    def __init__(
        self,
        *,
        settings: QueueSettings | None = None,
        faults: Faults | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        """
        Args:
            settings: settings of all queues; those of a Binding take precedence.
            faults: faults of all topics and queues but dead-letter queues.
            middleware: middleware of all listeners, outside of their own; for example `Inbox(database)`.
        """
        require_instance(settings, QueueSettings, "MemoryBroker: settings")
        require_instance(faults, Faults, "MemoryBroker: faults")
        self.settings = settings or QueueSettings()
        self.faults = faults or Faults()
        self._topics: dict[str, MemoryTopic] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._settings: dict[str, QueueSettings] = {}
        self._running: dict[ListenerContainer, _Running] = {}
        self._relays: dict[OutboxRelay, asyncio.Task[None]] = {}
        self._converters: dict[str, MessageConverter] = {}
        self._middleware = middleware
        self._record = Record()

    def topic(self, name: str, *, max_bytes: int | None = None) -> MemoryTopic:
        """Return a topic, given its name or ARN, as a MessageChannel.

        `max_bytes` limits its messages from then on, to 240 KiB by default. Raises ChannelMisconfigured.
        """
        name = parse_address(name, "sns").name
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = MemoryTopic(name, self.faults)
        if max_bytes is not None:
            topic.limit(max_bytes)
        return topic

    def queue_channel(
        self, queue: str, *, max_bytes: int = DEFAULT_MAX_BYTES, aws_trace_header: bool = False
    ) -> MemoryQueueChannel:
        """Return a MessageChannel that sends to a queue, given its name, URL or ARN, as SqsChannel does.

        The settings are those of SqsChannel. Raises ChannelMisconfigured.
        """
        return MemoryQueueChannel(self.queue(queue), max_bytes, aws_trace_header=aws_trace_header)

    def queue(self, queue: str) -> MemoryQueue:
        """Return a queue, given its name, URL or ARN; its `messages` may be inspected. Raises
        ChannelMisconfigured."""
        name = parse_address(queue, "sqs").name
        return self._queues.setdefault(name, MemoryQueue(name, self.faults))

    def settings_of(self, binding: Binding) -> QueueSettings:
        """Return the settings of the binding's queues; where none are set, those of the existing queue."""
        existing = self._settings.get(binding.queue, QueueSettings())
        return binding.settings.or_else(self.settings).or_else(existing)

    def subscribe(self, binding: Binding) -> tuple[MemoryQueue, MemoryQueue]:
        """Subscribe the binding's queue to its topics; return the queue and its dead-letter queue."""
        settings = self._settings[binding.queue] = self.settings_of(binding)
        name = replace(binding, settings=settings).dead_letter_queue
        queue, dead_letters = self.queue(binding.queue), self.queue(name)
        dead_letters.faults = Faults()
        dead_letters.retention = settings.dead_letter_retention or DEFAULT_DEAD_LETTER_RETENTION
        queue.retention = settings.retention or DEFAULT_RETENTION
        count = settings.max_receive_count or DEFAULT_MAX_RECEIVE_COUNT
        queue.redrive = RedrivePolicy(dead_letters, count)
        filters: dict[MemoryTopic, set[str]] = {}
        for topic, types in binding.topics.items():
            filters.setdefault(self.topic(topic), set()).update(types)
        for subscribed, event_types in filters.items():
            subscribed.subscriptions[binding.queue] = (queue, sorted(event_types))
        return queue, dead_letters

    def listen(
        self,
        *handlers: HandlerFunction | Binding,
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
        observer: OutcomeObserver | None = None,
    ) -> list[ListenerContainer]:
        """Start a listener for each queue that the handlers name, or that has a binding."""
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
        self._converters[binding.queue] = binding.converter
        consumer = MemoryConsumer(self.subscribe, self.settings_of)
        container = ListenerContainer(
            consumer,
            binding,
            middleware=[self._record, *self._middleware, *middleware],
            options=options,
            observer=self._record.observer(observer),
        )
        self._running[container] = _Running(consumer, asyncio.create_task(container.run()))
        return container

    async def crash(self, container: ListenerContainer) -> None:
        """End a listener as `kill -9` would: nothing is completed, returned or acknowledged any more."""
        running = self._running.pop(container)
        running.consumer.crash()
        running.task.cancel()
        await asyncio.wait([running.task])

    def attach(self, relay: OutboxRelay) -> None:
        """Run the relay of an outbox until the broker is closed. `join` waits for its events as well."""
        self._relays[relay] = asyncio.create_task(relay.run())

    async def publish(self, *events: object, topic: str | None = None) -> None:
        """Send events, or Messages, to a topic: to `topic`, or to the one whose subscribers take the type.

        Raises BatchSendFailed if a message was not accepted, and TopologyError if `topic` is not given and
        there is no such topic, or several.
        """
        messages = [each if isinstance(each, Message) else message_of(each) for each in events]
        for message in messages:
            await self.topic(topic or self._topic_for(message.type)).send([message])

    def published(self, event_type: type[E], *, topic: str | None = None) -> list[E]:
        """Return the events of this type that topics accepted, by topic and in the order of sending: of one
        topic, or of all. It does not matter who sent them: the test, a handler or an outbox."""
        names = declared(event_type).names
        events = []
        for each in self._topics.values() if topic is None else [self.topic(topic)]:
            converter = self._converter_of(*each.subscriptions)
            received = [converter.to_message(sent.payload, sent.headers) for sent in each.messages]
            events += [converter.from_message(sent, event_type) for sent in received if sent.type in names]
        return events

    def handled(self, event_type: type[E], *, queue: str | None = None) -> list[E]:
        """Return the events of this type that were handled, in this order: on one queue, or on all.

        An event that several queues received, or that a queue delivered again after it was handled, is
        contained as often. Duplicates that an inbox absorbed are not; see `outcomes`.
        """
        names, wanted = declared(event_type).names, _name_of(queue)
        return [
            self._converter_of(name).from_message(message, event_type)
            for name, message in self._record.handled()
            if wanted in (None, name) and message.type in names
        ]

    @property
    def outcomes(self) -> list[MessageOutcome]:
        """Outcomes of all deliveries, such as `failed`, and the inbox's `duplicate` and `superseded`."""
        return list(self._record.outcomes)

    def dead_letters(
        self, event_type: type[object] | None = None, *, queue: str | None = None
    ) -> list[DeadLetter]:
        """Return the dead letters, oldest first: of one event type, or of all; from one queue, or from all.

        `queue` is the queue that the messages failed on, not its dead-letter queue.
        """
        wanted = _name_of(queue)
        letters = [
            dead_letter(each.name, stored, self._record)
            for each in self._working_queues()
            if each.redrive is not None and wanted in (None, each.name)
            for stored in each.redrive.dead_letters.messages
        ]
        return [
            each for each in letters if event_type is None or each.message.type in declared(event_type).names
        ]

    async def join(self, *, raise_errors: bool = True) -> None:
        """Wait until nothing is left to do: all queues except dead-letter queues are empty, and the events of
        attached outboxes are relayed.

        Raises an ExceptionGroup with the causes of all dead letters and parked events: the errors of their
        handlers, or TerminalError with the reason. A test that expects dead letters passes
        `raise_errors=False`, and asserts on `dead_letters()`.

        Raises NoProgress when a queue has messages and no running listener, and the error of a listener or
        relay that ended with one.
        """
        pause = 0.01
        while await self._is_busy():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)
        errors: list[Exception] = [each.error for each in self.dead_letters()]
        for relay in self._relays:
            if parked := (await relay.backlog()).parked:
                errors.append(TerminalError(f"{parked} events are parked: see snsqs.outbox.parked_events"))
        if errors and raise_errors:
            raise ExceptionGroup("messages ended as dead letters", errors)

    async def __aenter__(self) -> "MemoryBroker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        listeners, self._running = self._running, {}
        relays, self._relays = self._relays, {}
        for listener in listeners:
            listener.stop()
        for relay in relays:
            relay.stop()
        await asyncio.gather(*(running.task for running in listeners.values()), *relays.values())

    async def _is_busy(self) -> bool:
        waiting = [queue for queue in self._working_queues() if not queue.is_empty]
        for queue in waiting:
            self._raise_if_stuck(queue)
        return bool(waiting) or await self._has_outbox_events()

    async def _has_outbox_events(self) -> bool:
        """Asked when the queues are empty: a handler commits its events before its message is deleted."""
        for relay, task in self._relays.items():
            if task.done():
                task.result()  # raises its error
            if (await relay.backlog()).waiting:
                return True
        # Sent by the relay after the queues were checked, and not handled yet.
        return any(not queue.is_empty for queue in self._working_queues())

    def _converter_of(self, *queues: str) -> MessageConverter:
        """Return the converter of the first of the queues that has a listener."""
        return next((self._converters[each] for each in queues if each in self._converters), JSON_CONVERTER)

    def _topic_for(self, event_type: str) -> str:
        names = [
            topic.name
            for topic in self._topics.values()
            if any(event_type in types for _, types in topic.subscriptions.values())
        ]
        if len(names) != 1:
            found = (
                f"several topics have subscribers: {', '.join(names)}" if names else "no listener takes it"
            )
            raise TopologyError(f"no topic for {event_type}: {found}; pass topic=…, or call listen() before")
        return names[0]

    def _raise_if_stuck(self, queue: MemoryQueue) -> None:
        listeners = [each for each in self._running if each.binding.queue == queue.name]
        for each in listeners:
            if self._running[each].task.done():
                self._running[each].task.result()  # raises its error
        if queue.has_visible and all(each.is_paused for each in listeners):
            reason = "its listener is paused" if listeners else "no listener"
            raise NoProgress(f"{queue.name} has messages and {reason}")

    def _working_queues(self) -> list[MemoryQueue]:
        return [queue for queue in self._queues.values() if queue.redrive is not None]


def _name_of(queue: str | None) -> str | None:
    return None if queue is None else queue_name(queue)
