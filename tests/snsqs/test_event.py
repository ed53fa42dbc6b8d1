"""Events declared with `@event`: models, dataclasses, TypedDicts and unions, on every engine."""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel, Field, RootModel
from snsqs import (
    Aggregate,
    DomainEvent,
    InvalidEvent,
    JsonConverter,
    ListenerMisconfigured,
    ListenerOptions,
    Message,
    MessageConverter,
    bindings,
    event,
    message_of,
    sqs_listener,
)
from snsqs.converters import CloudEventsConverter
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE
from snsqs.testing import MemoryBroker
from typing_extensions import TypedDict

from tests.serving import eventually
from tests.snsqs.engines import Engine, listening
from tests.snsqs.queues import QUEUE, TOPIC, Handler, listener


@event("OrderCompleted", id="order.id", version="version", time="at")
class Completed(BaseModel):
    order: "Order"
    version: int
    at: datetime | None = None


class Order(BaseModel):
    id: str


@event("OrderCompleted.v2", id=lambda e: e.order_id)
@dataclass(frozen=True, slots=True)
class CompletedV2:
    order_id: uuid.UUID


@event("MemoWritten", id="order_id", version="version")
class MemoWritten(TypedDict):
    order_id: str
    version: int


class Card(BaseModel):
    kind: Literal["card"] = "card"
    order_id: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    order_id: str


Paid = Annotated[Card | Cash, Field(discriminator="kind"), event("OrderPaid", id="order_id")]


@event("OrderRefunded", id="root.order_id")
class Refunded(RootModel[Annotated[Card | Cash, Field(discriminator="kind")]]): ...


@event("OrderShipped", aliases=("OrderSent", "OrderDispatched"))
class Shipped(DomainEvent): ...


T = TypeVar("T")


@event("Changed")
class Changed(BaseModel, Generic[T]):
    value: T


class Parcel(Aggregate):
    weight: int


A = TypeVar("A", bound=Aggregate)


class Moved(DomainEvent, Generic[A]):
    source: A


completed = Completed(order=Order(id="1"), version=3, at=datetime(2021, 7, 17, tzinfo=UTC))
second = CompletedV2(uuid.UUID(int=1))
memo = MemoWritten(order_id="1", version=4)
EVENTS: list[tuple[Any, Any]] = [
    (completed, Completed),
    (second, CompletedV2),
    (memo, MemoWritten),
    (Card(order_id="1"), Paid),
    (Cash(order_id="2"), Paid),
    (Refunded(Cash(order_id="1")), Refunded),
    (Changed[int](value=5), Changed[int]),
    (Moved[Parcel](source=Parcel(id="1", version=1, weight=2)), Moved[Parcel]),
    (Shipped(source=Aggregate(id="1", version=1)), Shipped),
]


@pytest.mark.parametrize("converter", [None, CloudEventsConverter(source="order")])
async def test_events_of_every_kind_reach_their_handlers(
    engine: Engine, converter: MessageConverter | None
) -> None:
    """As single parameters, in a union and in batches; two versions of a type on one queue."""
    seen: list[Any] = []
    on_event = sqs_listener(QUEUE, topic=TOPIC, converter=converter)

    @on_event
    async def on_completed(event: Completed, sent: Message[str]) -> None:
        seen.append(event)

    @on_event
    async def on_others(event: CompletedV2 | MemoWritten | Refunded | Shipped) -> None:
        seen.append(event)

    @on_event
    async def on_paid(events: list[Paid]) -> None:
        seen.extend(events)

    @on_event
    async def on_changed(event: Changed[int] | Moved[Parcel]) -> None:
        seen.append(event)

    async with listening(engine, on_completed, on_others, on_paid, on_changed) as bench:
        messages = [message_of(sent, kind) for sent, kind in EVENTS]
        await bench.publish(*((converter or JsonConverter()).to_wire(each) for each in messages))
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert len(seen) == len(EVENTS)
    assert all(sent in seen for sent, _ in EVENTS)


async def test_an_event_is_consumed_under_its_aliases(engine: Engine) -> None:
    """During a rename, the filter policy has the old names and the new one, which it is published under."""
    seen: list[str] = []

    @listener
    async def on_shipped(event: Shipped, sent: Message[str]) -> None:
        seen.append(sent.type)

    shipped = message_of(Shipped(source=Aggregate(id="1", version=1)))
    assert shipped.type == Shipped.event_type == "OrderShipped"
    async with listening(engine, on_shipped) as bench:
        await bench.publish(shipped, shipped.copy(headers={ID: "2", TYPE: "OrderSent"}))
        await eventually(bench.is_empty)
    assert sorted(seen) == ["OrderSent", "OrderShipped"]
    [binding] = bindings([on_shipped])
    assert binding.event_types == ["OrderDispatched", "OrderSent", "OrderShipped"]


async def test_id_and_version_come_from_the_payload_where_headers_have_none(engine: Engine) -> None:
    """So the inbox's guard applies to messages of a producer that sends no headers."""
    seen: list[Any] = []

    @listener
    async def on_memo(event: MemoWritten, sent: Message[str]) -> None:
        seen.append((sent.subject, sent.sequence))

    async with listening(engine, on_memo) as bench:
        await bench.send('{"order_id": "7", "version": 2}', **{TYPE: "MemoWritten"})
        await eventually(lambda: _has(seen, 1))
        await eventually(bench.is_empty)
    assert seen == [("7", 2)]


async def test_headers_that_contradict_the_payload_are_refused(engine: Engine) -> None:
    """Duplicates and older versions are detected by headers."""

    @listener
    async def on_memo(event: MemoWritten) -> None:
        raise AssertionError(event)

    async with listening(engine, on_memo) as bench:
        await bench.publish(message_of(memo, MemoWritten).copy(headers={SEQUENCE: "5"}))
        await eventually(bench.is_empty)
        [letter] = await bench.dead_letters()
    assert letter.reason == "UndecodableMessage: the payload has version 4, ce-sequence 5"


async def _has(seen: list[Any], count: int) -> bool:
    return len(seen) == count


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, "dead letter"),
        ({"untyped": "ignore"}, "deleted"),
        ({"untyped": "fail"}, "dead letter"),
        ({"default_type": "MemoWritten"}, "handled"),
    ],
)
async def test_messages_without_a_type(engine: Engine, options: dict[str, Any], outcome: str) -> None:
    """Policy and default type are options of the listener."""
    seen: list[MemoWritten] = []

    @listener
    async def on_memo(event: MemoWritten) -> None:
        seen.append(event)

    async with listening(engine, on_memo, max_receive_count=1, **options) as bench:
        await bench.send('{"order_id": "7", "version": 2}')
        await eventually(bench.is_empty)
        letters = [letter.reason for letter in await bench.dead_letters()]
    no_type = ["UndecodableMessage: the message has no ce-type attribute"]
    assert letters == (no_type if outcome == "dead letter" else [])
    assert len(seen) == (outcome == "handled")


def test_headers_come_from_the_declaration() -> None:
    """Attribute, dotted path or function; id and version are optional."""
    headers = message_of(completed).headers
    assert (headers[SUBJECT], headers[SEQUENCE]) == ("1", "3")
    assert headers["ce-time"] == "2021-07-17T00:00:00+00:00"
    sent = message_of(second)
    assert (sent.type, sent.subject, sent.sequence) == ("OrderCompleted.v2", str(second.order_id), None)
    assert message_of(Changed[int](value=1)).subject == ""
    assert message_of(Card(order_id="9"), Paid).payload == '{"kind":"card","order_id":"9"}'


class Plain(BaseModel):
    id: str = "1"


class Described(Completed):
    """A subclass of a declared class, which is not declared itself."""


@event("Late", time="at")
class Late(BaseModel):
    at: int


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (Plain(), "Plain is not an event: declare it with @event"),
        (dict(memo), "dict is not an event"),
        (Described(order=Order(id="1"), version=1), "Described is not an event"),
        (Completed(order=Order(id="a\n"), version=1), r"the id of OrderCompleted .* printable, not 'a\\n'"),
        (
            Completed(order=Order(id="x" * 257), version=1),
            "the id of OrderCompleted must be at most 256 char",
        ),
        (Completed(order=Order(id="1"), version=-1), "the version of OrderCompleted must be 0 to"),
        (
            Completed(order=Order(id="1"), version=1, at=datetime(2021, 7, 17)),  # without time zone
            "the time of OrderCompleted must be a datetime with time zone",
        ),
        (
            Late(at=10**18),
            "the time of Late must be .* milliseconds since the epoch, not 1000000000000000000",
        ),
        (Completed.model_construct(order=Order.model_construct(id=[]), version=1), "the id of OrderComp"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_a_message_is_refused(sent: object, reason: str) -> None:
    """With the type and the value."""
    with pytest.raises(InvalidEvent, match=reason):
        message_of(sent)


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: event(""), "a name has 1 to 256 printable characters"),
        (lambda: event("A", aliases="A"), "name and aliases must differ"),
        (lambda: event("A", id="order id"), "id must be an attribute, a dotted path or a function"),
        (lambda: event("A", id="order_id")(Order), r"id='order_id': Order has no 'order_id'; it has id"),
        (lambda: event("A", version="order.v")(_Undeclared), r"version='order.v': Order has no 'v'"),
        (lambda: event("A")(event("B")(type("C", (), {}))), "C is declared twice: as 'B' and as 'A'"),
        (lambda: event("A")(Card | Cash), r"@event marks classes.*Annotated\[…, event\('A'\)\]"),
    ],
)
def test_a_wrong_declaration_is_refused(declare: Any, reason: str) -> None:
    """When it is made, with the parameter and what it may be."""
    with pytest.raises(InvalidEvent, match=reason):
        declare()


class _Undeclared(BaseModel):
    order: Order


def handler_of(kind: Any) -> Handler:
    async def handler(event: Any) -> None: ...

    handler.__annotations__["event"] = kind
    return listener(handler)


def same_name() -> type[DomainEvent]:
    class Shipped(DomainEvent): ...

    Shipped.__qualname__ = "other.Shipped"
    return event("OrderDispatched")(Shipped)


class _NotJson:
    pass


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (
            [Shipped | same_name()],
            r"test_event.Shipped and .*other.Shipped, which are both consumed as 'O",
        ),
        ([Shipped, same_name()], r"both take OrderDispatched on test-queue"),
        ([Completed | Plain], r"takes a union of events with other members"),
        ([Plain], r"takes no event"),
        ([DomainEvent], r"takes no event"),
        ([event("N")(_NotJson)], r"_NotJson has no JSON form"),
        ([Annotated[Card | Cash, event("P", id="cash_id")]], r"id='cash_id': Card has no 'cash_id'"),
    ],
)
def test_a_wrong_handler_is_refused_at_start(kinds: list[Any], reason: str) -> None:
    """Two classes of one type, in a union or on a queue; a class that is no event or has no JSON form."""
    with pytest.raises(ListenerMisconfigured, match=reason):
        bindings([handler_of(kind) for kind in kinds])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ListenerOptions(default_type="Melted"), "default_type='Melted' has no handler; the handlers take O"),
        (
            ListenerOptions(default_type="OrderCompleted", untyped="ignore"),
            "untyped='ignore' has no effect with default_type='OrderCompleted'",
        ),
    ],
)
async def test_a_wrong_default_type_is_refused_at_start(options: ListenerOptions, reason: str) -> None:
    """It names the queue and the types that have handlers."""
    async with MemoryBroker() as broker:
        with pytest.raises(ListenerMisconfigured, match=f"test-queue: {reason}"):
            broker.listen(handler_of(Completed), options=options)


def test_a_parameter_that_is_no_event_is_refused() -> None:
    """A class that is neither an event nor provided, also beside an event."""

    @sqs_listener("q", topic="t")
    async def handler(event: Completed, plain: Plain) -> None: ...

    async def program() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)

    with pytest.raises(ListenerMisconfigured, match="takes plain of type Plain, which no middleware"):
        asyncio.run(program())
