"""Engines: implementations of SNS and SQS on which the same tests run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from snsqs import (
    AwsClients,
    Binding,
    Delivery,
    ListenerContainer,
    ListenerOptions,
    Message,
    MessageChannel,
    MessageHandler,
    Middleware,
    OutcomeObserver,
    QueueSettings,
    SnsChannel,
    SqsChannel,
    Topology,
    bindings,
)
from snsqs.queues import RawAttributes, is_fifo
from snsqs.testing import MemoryBroker

from tests.snsqs.queues import DeadLetter, Handler


class Transport(Protocol):
    """Access of one engine to the topic and queues of a listener."""

    def topic(self, name: str) -> MessageChannel: ...

    def queue(self) -> MessageChannel: ...

    async def send(self, body: str, attributes: dict[str, Any]) -> None: ...

    async def dead_letters(self) -> list[DeadLetter]: ...

    async def counts(self) -> tuple[int, int]: ...

    async def purge(self) -> None: ...


@dataclass(frozen=True)
class Bench:
    """A running listener, with access to its topic, queue and dead letters."""

    listener: ListenerContainer
    transport: Transport
    deliveries: "Deliveries"

    async def publish(self, *messages: Message[str], topic: str = "") -> None:
        """Publish to a topic, by default the first one of the binding; for a work queue send to the queue."""
        binding = self.listener.binding
        name = topic or binding.topic
        types = binding.topics[name] if name else binding.event_types
        self.deliveries.expected.update(each.id for each in messages if each.type in types)
        await (self.transport.topic(name) if name else self.transport.queue()).send(messages)

    async def send(self, body: str, **attributes: Any) -> None:
        """Send to the queue, without the topic and its filter policy. An attribute is a text, or has the form
        of SQS."""
        await self.transport.send(body, attributes)

    async def dead_letters(self) -> list[DeadLetter]:
        """Return and remove the present dead letters."""
        return await self.transport.dead_letters()

    async def counts(self) -> tuple[int, int]:
        """Return the numbers of visible and of received messages."""
        return await self.transport.counts()

    async def is_empty(self) -> bool:
        """Return whether all published messages were delivered and deleted. SNS may deliver a message
        some time after it accepted it."""
        return self.deliveries.expected <= self.deliveries.seen and await self.counts() == (0, 0)

    async def purge(self) -> None:
        """Delete all messages, received ones included."""
        await self.transport.purge()


@dataclass(frozen=True)
class Deliveries:
    """Middleware that records which of the published messages were delivered."""

    expected: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    provides: tuple[type, ...] = ()

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        self.seen.update(each.id for each in delivery.messages)
        await proceed(delivery)


class Engine(Protocol):
    """An implementation of SNS and SQS."""

    def start(
        self,
        binding: Binding,
        middleware: tuple[Middleware, ...],
        settings: QueueSettings,
        options: ListenerOptions,
        observer: OutcomeObserver | None,
    ) -> "Any": ...


@asynccontextmanager
async def listening(
    engine: Engine,
    *handlers: Handler,
    middleware: tuple[Middleware, ...] = (),
    visibility: int = 30,
    max_receive_count: int = 5,
    observer: OutcomeObserver | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Run the listener of handlers of one queue until the body ends, then drain it."""
    [binding] = bindings(handlers)
    settings = QueueSettings(visibility=visibility, max_receive_count=max_receive_count)
    async with engine.start(binding, middleware, settings, ListenerOptions(**options), observer) as bench:
        yield bench


@dataclass(frozen=True)
class AwsEngine:
    """A server with the protocols of SNS and SQS."""

    clients: AwsClients

    @asynccontextmanager
    async def start(
        self,
        binding: Binding,
        middleware: tuple[Middleware, ...],
        settings: QueueSettings,
        options: ListenerOptions,
        observer: OutcomeObserver | None,
    ) -> AsyncIterator[Bench]:
        topology = Topology(self.clients, create=True, settings=settings)
        deliveries = Deliveries()
        layers = [deliveries, *middleware]
        listener = ListenerContainer(topology, binding, middleware=layers, options=options, observer=observer)
        await listener.prepare()
        running = asyncio.create_task(listener.run())
        try:
            yield Bench(listener, await _AwsTransport.of(self.clients, topology, binding), deliveries)
        finally:
            listener.stop()
            await running


@dataclass(frozen=True)
class _AwsTransport:
    clients: AwsClients
    topology: Topology
    binding: Binding
    queue_url: str
    dead_letter_url: str

    @classmethod
    async def of(cls, clients: AwsClients, topology: Topology, binding: Binding) -> "_AwsTransport":
        names = binding.queue, binding.dead_letter_queue
        urls = [(await clients.sqs.get_queue_url(QueueName=name))["QueueUrl"] for name in names]
        return cls(clients, topology, binding, *urls)

    def topic(self, name: str) -> MessageChannel:
        return SnsChannel(self.clients.sns, self.topology, name)

    def queue(self) -> MessageChannel:
        return SqsChannel(self.clients.sqs, self.binding.queue, self.queue_url)

    async def send(self, body: str, attributes: dict[str, Any]) -> None:
        await self.clients.sqs.send_message(
            QueueUrl=self.queue_url, MessageBody=body, MessageAttributes=_raw(attributes)
        )

    async def dead_letters(self) -> list[DeadLetter]:
        answer = await self.clients.sqs.receive_message(
            QueueUrl=self.dead_letter_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return [_dead_letter(m["Body"], m.get("MessageAttributes", {})) for m in answer.get("Messages", [])]

    async def counts(self) -> tuple[int, int]:
        answer = await self.clients.sqs.get_queue_attributes(
            QueueUrl=self.queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        waiting, leased = (int(value) for _, value in sorted(answer["Attributes"].items()))
        return waiting, leased

    async def purge(self) -> None:
        await self.clients.sqs.purge_queue(QueueUrl=self.queue_url)


class MemoryEngine:
    """The in-memory broker, without faults and on the real clock."""

    @asynccontextmanager
    async def start(
        self,
        binding: Binding,
        middleware: tuple[Middleware, ...],
        settings: QueueSettings,
        options: ListenerOptions,
        observer: OutcomeObserver | None,
    ) -> AsyncIterator[Bench]:
        async with MemoryBroker(settings=settings) as broker:
            deliveries = Deliveries()
            layers = [deliveries, *middleware]
            listener = broker.start(binding, middleware=layers, options=options, observer=observer)
            yield Bench(listener, _MemoryTransport(broker, binding), deliveries)


@dataclass(frozen=True)
class _MemoryTransport:
    broker: MemoryBroker
    binding: Binding

    def topic(self, name: str) -> MessageChannel:
        return self.broker.topic(name)

    def queue(self) -> MessageChannel:
        return self.broker.queue_channel(self.binding.queue)

    async def send(self, body: str, attributes: dict[str, Any]) -> None:
        queue = self.broker.queue(self.binding.queue)
        await queue.send(
            body, _raw(attributes), group="none" if is_fifo(queue.name) else None, deduplication=""
        )

    async def dead_letters(self) -> list[DeadLetter]:
        letters = self.broker.queue(self.binding.dead_letter_queue).messages
        taken, letters[:] = list(letters), []
        return [_dead_letter(stored.body, stored.attributes) for stored in taken]

    async def counts(self) -> tuple[int, int]:
        now = asyncio.get_running_loop().time()
        messages = self.broker.queue(self.binding.queue).messages
        leased = sum(stored.visible_at > now for stored in messages)
        return len(messages) - leased, leased

    async def purge(self) -> None:
        self.broker.queue(self.binding.queue).messages.clear()


def _raw(attributes: dict[str, Any]) -> Any:
    return {
        name: {"DataType": "String", "StringValue": value} if isinstance(value, str) else value
        for name, value in attributes.items()
    }


def _dead_letter(body: str, attributes: RawAttributes) -> DeadLetter:
    texts = {name: value["StringValue"] for name, value in attributes.items() if "StringValue" in value}
    return DeadLetter(body, texts, attributes)
