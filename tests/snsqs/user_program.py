"""A program of a user of the library, checked by `test_typing`: events, handlers, middleware, outbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, assert_type

from pydantic import BaseModel, Field
from snsqs import (
    Acknowledgement,
    Aggregate,
    AwsClients,
    Delivery,
    DomainEvent,
    InterceptedChannel,
    JsonConverter,
    ListenerContainer,
    Message,
    MessageConverter,
    MessageHandler,
    MessagingError,
    Send,
    SnsChannel,
    Topology,
    bindings,
    event,
    message_of,
    sqs_listener,
)
from snsqs.converters import SnsEnvelopeConverter
from snsqs.events import ApplicationEventPublisher, event_listener
from snsqs.inbox import Inbox
from snsqs.outbox import EventLog
from snsqs.postgres import Transaction, connect
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from typing_extensions import TypedDict


class Order(Aggregate):
    status: str
    memo: str = ""


class OrderCompleted(DomainEvent):
    source: Order


class OrderCancelled(DomainEvent):
    event_type = "Cancelled"
    source: Order


S = TypeVar("S", bound=Aggregate)
E = TypeVar("E")


class Changed(DomainEvent, Generic[S]):
    source: S


completed = OrderCompleted(source=Order(id="1", version=1, status="COMPLETED"))
changed = Changed[Order](source=completed.source)
assert_type(completed.source, Order)
assert_type(changed.source, Order)
assert_type(OrderCompleted.event_type, str)
assert_type(message_of(completed), Message[str])
completed.source = Order(id="2", version=1, status="")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
OrderCompleted(source=Aggregate(id="1", version=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Tenant:
    name: str


class TenantMiddleware:
    provides = (Tenant,)

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        await proceed(delivery.providing(Tenant, Tenant(delivery.message.headers["tenant"])))


on_orders = sqs_listener("billing-order-event-queue", topic="order-events")


@on_orders
async def on_completed(event: OrderCompleted | OrderCancelled, tx: Transaction, tenant: Tenant) -> None:
    assert_type(event.source, Order)
    await tx.publish(event)


@on_orders
async def on_changed(events: list[Changed[Order]], acknowledgement: Acknowledgement) -> None:
    assert_type(events[0].source, Order)
    await acknowledgement.acknowledge()


@event("MemoWritten", id="order_id", version=lambda memo: memo.version)
@dataclass(frozen=True)
class MemoWritten:
    order_id: str
    version: int


@event("MemoRead")
class MemoRead(TypedDict):
    order_id: str


class Card(BaseModel):
    kind: Literal["card"]


class Cash(BaseModel):
    kind: Literal["cash"]


Paid: TypeAlias = Annotated[Card | Cash, Field(discriminator="kind"), event("OrderPaid")]


class UpperCase(MessageConverter):
    content_type = "text/plain"

    def from_message(self, message: Message[str], event_type: type[E]) -> E:
        return JsonConverter().from_message(message.copy(payload=message.payload.lower()), event_type)

    def to_payload(self, event: object, event_type: Any) -> str:
        return JsonConverter().to_payload(event, event_type).upper()


@sqs_listener("memo-queue", topic="memos", converter=SnsEnvelopeConverter(UpperCase()))
async def on_memo(event: MemoWritten | MemoRead | Paid) -> None:
    assert_type(event, MemoWritten | MemoRead | Card | Cash)


assert_type(MemoWritten("1", 2), MemoWritten)
assert_type(message_of(MemoWritten("1", 2), converter=UpperCase()), Message[str])
assert_type(message_of(MemoRead(order_id="1"), MemoRead), Message[str])
assert_type(message_of(Card(kind="card"), Paid).type, str)


@event_listener
async def in_process(event: OrderCompleted, tx: Transaction) -> None:
    assert_type(event.source.memo, str)


async def with_tenant(messages: Sequence[Message[str]], proceed: Send) -> list[str | MessagingError]:
    return await proceed([each.copy(headers={"tenant": "acme"}) for each in messages])


async def service(database_url: str, clients: AwsClients) -> None:
    publisher = ApplicationEventPublisher([in_process, EventLog()])
    async with connect(database_url, publisher) as database:
        topology = Topology(clients, create=True)
        [binding] = bindings([on_completed, on_changed])
        middleware = (Inbox(database), TenantMiddleware())
        await ListenerContainer(topology, binding, middleware=middleware).run()
        channel = InterceptedChannel(SnsChannel(clients.sns, topology, "order-events"), with_tenant)
        [sent] = await channel.send([message_of(completed)])
        assert_type(sent, str)
        [result] = await channel.try_send([message_of(changed)])
        assert_type(result, str | MessagingError)


async def program() -> int:
    async with MemoryBroker() as broker:
        broker.listen(on_completed, on_changed, middleware=[TenantMiddleware()])
        await broker.topic("order-events").send([message_of(completed), message_of(changed)])
        await broker.join()
    return 0


assert_type(run_on_virtual_clock(program()), int)
