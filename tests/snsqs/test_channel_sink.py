"""An outbox without an adapter: the relay publishes to a channel."""

import asyncio
import inspect
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

import pytest
import snsqs.outbox
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from snsqs import (
    InvalidEvent,
    Message,
    MessageChannel,
    MessagingError,
    SendFailed,
    TerminalError,
    event,
    sqs_listener,
)
from snsqs.outbox import ChannelSink, EventLog, LoggedEvent, Relay, RelayOptions
from snsqs.postgres import Database
from snsqs.testing import MemoryBroker

from services.order.events import OrderPlaced
from services.order.order import Order, PlaceOrder
from tests.order.test_api import ORDER
from tests.serving import eventually
from tests.snsqs.relays import ORDER_ID, all_decided, append, log_of, running

Entry = str | MessagingError


class FakeChannel(MessageChannel):
    """Channel that keeps the messages, and whose outcome for each a test chooses."""

    def __init__(self) -> None:
        self.messages: list[Message[str]] = []
        self.outcomes: dict[str, MessagingError] = {}
        """By version."""
        self.unavailable = False

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        self.messages.extend(messages)
        return [self._outcome(message) for message in messages]

    def _outcome(self, message: Message[str]) -> Entry:
        if self.unavailable:
            return SendFailed("SNS did not take the batch")
        return self.outcomes.get(message.headers["ce-sequence"], f"sns-{message.id}")


def relay_to(channel: FakeChannel, database: Database, **options: Any) -> Relay:
    options = {"poll_interval": 0.2, "max_backoff": 0.2} | options
    return Relay(database, EventLog(), ChannelSink(channel, source="order"), options=RelayOptions(**options))


async def test_an_event_becomes_a_message(database: Database) -> None:
    """Payload and headers are those of the contract; the row has the channel's message id."""
    channel = FakeChannel()
    await append(database)
    async with running(relay_to(channel, database)):
        await eventually(lambda: all_decided(database))
    [logged], [message] = await log_of(database), channel.messages
    assert (logged.decision, logged.rule, logged.message_id) == ("forwarded", None, f"sns-{logged.id}")
    assert dict(message.headers) == {
        "ce-id": str(logged.id),
        "ce-type": "OrderPlaced",
        "ce-source": "order",
        "ce-time": logged.occurred_at.isoformat(),
        "ce-subject": ORDER_ID,
        "ce-sequence": "1",
        "content-type": "application/json",
    }
    assert set(json.loads(message.payload)) == {"source", "occurenceOn"}


async def test_the_trace_of_an_event_travels(database: Database) -> None:
    """`traceparent` and `tracestate` are those of the transaction that published it; the latter up to the
    512 characters that every system propagates."""
    channel = FakeChannel()
    for version, value in enumerate(["a", "x" * 250], start=1):
        state = TraceState([("vendor", value), ("another", value), ("third", value)])
        context = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
        with trace.use_span(NonRecordingSpan(context)):
            await append(database, 1, f"{ORDER_ID[:-1]}{version}")

    async def both_sent() -> bool:
        return len(channel.messages) == 2

    async with running(relay_to(channel, database)):
        await eventually(both_sent)
    traceparent = f"00-{1:032x}-{2:016x}-01"
    assert [message.headers["traceparent"] for message in channel.messages] == [traceparent] * 2
    tracestates = [message.headers.get("tracestate") for message in channel.messages]
    assert tracestates == ["vendor=a,another=a,third=a", None]


@event("MemoWritten", id="order_id", version="version")
@dataclass(frozen=True)
class MemoWritten:
    order_id: str
    version: int


@event("MemoErased", id="order_id")
@dataclass(frozen=True)
class MemoErased:
    order_id: str


async def test_declared_events_become_messages_too(database: Database) -> None:
    """Published in process, or appended; what is not declared stays in process."""
    channel, event_log = FakeChannel(), EventLog()
    memo = Annotated[MemoWritten, event("MemoCopied", id="order_id", version="version")]
    async with database.transaction() as tx:
        await tx.publish(MemoWritten(ORDER_ID, 1))
        await tx.publish(object())
        await event_log.append(MemoWritten(ORDER_ID, 2), tx.connection, event_type=memo)
    async with running(relay_to(channel, database)):
        await eventually(lambda: all_decided(database))
    about = [(each.type, each.subject, each.sequence, each.payload) for each in channel.messages]
    assert sorted(about) == [
        ("MemoCopied", ORDER_ID, 2, f'{{"order_id":"{ORDER_ID}","version":2}}'),
        ("MemoWritten", ORDER_ID, 1, f'{{"order_id":"{ORDER_ID}","version":1}}'),
    ]


async def test_an_event_without_a_version_is_refused(database: Database) -> None:
    """And what is no event at all; the transaction is rolled back."""

    async def publish() -> None:
        async with database.transaction() as tx:
            await tx.publish(MemoWritten(ORDER_ID, 1))
            await tx.publish(MemoErased(ORDER_ID))

    async def append_no_event() -> None:
        async with database.transaction() as tx:
            await EventLog().append(object(), tx.connection)

    with pytest.raises(InvalidEvent, match=r"MemoErased has no id or no version, .*\('MemoErased', id=…"):
        await publish()
    with pytest.raises(InvalidEvent, match="object is not an event"):
        await append_no_event()
    assert await log_of(database) == []


def test_the_events_of_an_outbox_are_validated_at_start() -> None:
    """On request: all types that the service publishes."""
    memo = Annotated[MemoWritten, event("MemoCopied", id="order_id", version="version")]
    EventLog(OrderPlaced, MemoWritten, memo)
    with pytest.raises(InvalidEvent, match=r"MemoErased has no id or no version, .*\('MemoErased', id=…"):
        EventLog(MemoWritten, MemoErased)
    with pytest.raises(InvalidEvent, match="object is not an event"):
        EventLog(object)


@event("MemoWeighed", id="order_id", version="version")
@dataclass(frozen=True)
class MemoWeighed:
    order_id: str
    version: int
    grams: float


async def test_an_event_that_json_cannot_represent_is_refused(database: Database) -> None:
    """When it is published, with the field; the command is rolled back."""

    async def publish() -> None:
        async with database.transaction() as tx:
            await tx.publish(MemoWeighed(ORDER_ID, 1, 20.5))
            await tx.publish(MemoWeighed(ORDER_ID, 2, float("nan")))

    with pytest.raises(InvalidEvent, match="the event is not a MemoWeighed: grams is nan"):
        await publish()
    assert await log_of(database) == []


async def test_a_message_that_the_channel_rejects_fails_alone(database: Database) -> None:
    """G5: it is retried and parked with the channel's reason, even when it is alone; the others leave."""
    channel = FakeChannel()
    channel.outcomes["2"] = TerminalError("over the limit")
    await append(database, 3)

    async def parked() -> LoggedEvent | None:
        event = (await log_of(database))[1]
        return event if event.parked_at else None

    async with running(relay_to(channel, database, max_attempts=2, max_backoff=5)):
        event = await eventually(parked)
    assert (event.attempts, event.last_error) == (2, "over the limit")
    assert [each.decision for each in await log_of(database)] == ["forwarded", None, "forwarded"]


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException."""


@pytest.mark.parametrize("error", [KeyError("colour"), PanicException("index"), SystemExit(0)], ids=repr)
async def test_an_event_that_a_channel_fails_on_is_parked(database: Database, error: BaseException) -> None:
    """G5, also for a defect of a channel: the relay goes on, and the error is on the row."""

    class Defective(FakeChannel):
        async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
            if any(each.sequence == 2 for each in messages):
                raise error
            return await super().try_send(messages)

    await append(database, 5)

    async def parked() -> LoggedEvent | None:
        event = (await log_of(database))[1]
        return event if event.parked_at else None

    async with running(relay_to(Defective(), database, max_attempts=2)):
        event = await eventually(parked)
    assert event.last_error == f"Defective: {type(error).__name__}: {error}"
    assert [each.version for each in await log_of(database) if each.decision] == [1, 3, 4, 5]


async def test_no_event_is_parked_while_the_channel_is_unavailable(database: Database) -> None:
    """G8: when it takes no message at all, no attempt is counted, and the relay reports it."""
    channel = FakeChannel()
    channel.unavailable = True
    await append(database, 3)
    relay = relay_to(channel, database, max_attempts=1)

    async def tried_often() -> bool:
        return len(channel.messages) >= 10 and relay.degraded_reason is not None

    async with running(relay):
        await eventually(tried_often)
        assert relay.degraded_reason == "FakeChannel is not ready: SNS did not take the batch"
        waited = await log_of(database)
        channel.unavailable = False
        await eventually(lambda: all_decided(database))
    assert [(each.attempts, each.last_error, each.parked_at) for each in waited] == [
        (0, "SNS did not take the batch", None)
    ] * 3


async def test_the_example_of_the_package_runs(order_database: str) -> None:
    """The program in the docstring of snsqs.outbox, with a service that publishes one event."""
    received = asyncio.Event()

    @sqs_listener("placed-orders", topic="order-events")
    async def on_order_placed(event: OrderPlaced) -> None:
        assert event.source.id == ORDER_ID
        received.set()

    names: dict[str, Any] = {}

    async def serve(database: Database) -> None:
        names["database"] = database
        await names["place"](Order.placed(ORDER_ID, PlaceOrder.model_validate(ORDER)))
        async with asyncio.timeout(10):
            await received.wait()

    names |= {"serve": serve, "OrderPlaced": OrderPlaced}
    program, transaction = docstring_blocks(snsqs.outbox)
    exec(program, names)
    statement = "INSERT INTO orders VALUES ($1)"
    assert statement in transaction
    transaction = transaction.replace(f'"{statement}"', '"SELECT $1::text"')
    exec(f"async def place(order):\n{textwrap.indent(transaction, '    ')}", names)
    async with MemoryBroker() as broker:
        broker.listen(on_order_placed)
        async with asyncio.timeout(20):
            await names["run"](order_database, broker.topic("order-events"))


def docstring_blocks(module: ModuleType) -> list[str]:
    """The indented blocks of the module's docstring."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", inspect.getdoc(module) or "", re.MULTILINE)
    return [textwrap.dedent(each) for each in found]


@pytest.mark.usefixtures("processes")
def test_outbox_and_inbox_import_asyncpg_only() -> None:
    """httpx is loaded by snsqs.outbox.http, and what renders logs and metrics by the services."""
    modules = ["httpx", "fastapi", "structlog", "stamina", "prometheus_client", "opentelemetry.sdk"]
    program = (
        "import sys, snsqs.outbox, snsqs.inbox, snsqs.retention, snsqs.migrations; "
        f"print([name for name in {modules} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
