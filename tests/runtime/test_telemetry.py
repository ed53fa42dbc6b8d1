"""Logs and metrics of a process, those of the messaging library included."""

import json
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest
from prometheus_client import generate_latest
from snsqs import Aggregate, DomainEvent, message_of, sqs_listener
from snsqs.testing import MemoryBroker, run_on_virtual_clock

from shared.web import application

# In a process of its own, because logging is configured for a whole process.
_REJECTING_LISTENER = """
import logging
import sys

from snsqs import Aggregate, DomainEvent, Message, TerminalError, message_of, sqs_listener
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from shared.runtime import telemetry


class OrderCompleted(DomainEvent):
    source: Aggregate


@sqs_listener("completed-orders", topic="order-events")
async def reject(event: OrderCompleted) -> None:
    raise TerminalError("unknown product")


async def main():
    async with MemoryBroker() as broker:
        broker.listen(reject)
        event = OrderCompleted(source=Aggregate(id="20210717235959000000", version=1), occurence_on=0)
        await broker.topic("order-events").send([message_of(event).copy(headers={"ce-id": "e1"})])
        try:
            await broker.join()
        except ExceptionGroup:
            pass


telemetry.configure("scm", log_format=sys.argv[1])
run_on_virtual_clock(main())
logging.getLogger("snsqs.outbox").warning("event parked", extra={"subject": "another order"})
"""


class Counted(DomainEvent):
    source: Aggregate


@sqs_listener("counted-queue", topic="counted-events")
async def on_counted(event: Counted) -> None: ...


def lines(log_format: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-c", _REJECTING_LISTENER, log_format], capture_output=True, text=True, check=True
    )
    return ended.stdout.splitlines()


@pytest.mark.usefixtures("processes")
def test_a_library_record_has_its_fields_and_its_message_in_json() -> None:
    """`extra` and the message being handled are keys of the line; a subject is an order id."""
    rejected, parked = map(json.loads, lines("json"))
    assert rejected.pop("timestamp")
    assert rejected == {
        "service": "scm",
        "level": "error",
        "event": "dead letter",
        "queue": "completed-orders-dlq",
        "message_id": "order-events-0",
        "reason": "TerminalError: unknown product",
        "event_id": "e1",
        "event_type": "OrderCompleted",
        "order_id": "20210717235959000000",
    }
    assert (parked["event"], parked["level"], parked["order_id"]) == (
        "event parked",
        "warning",
        "another order",
    )


@pytest.mark.usefixtures("processes")
def test_a_library_record_is_rendered_on_the_console_like_the_services_own() -> None:
    """The order and the event type come first, ids last."""
    rejected, parked = lines("console")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{6} \[error\] dead letter +order_id=20210717235959000000 "
        r"event_type=OrderCompleted queue=completed-orders-dlq reason='TerminalError: unknown product' "
        r"message_id=order-events-0 event_id=e1",
        rejected,
    )
    assert parked.endswith("order_id='another order'")


def test_metrics_of_the_library_keep_names_and_labels() -> None:
    """Any number of applications in a process export them once, without labels of OpenTelemetry's own."""

    async def handle_one() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_counted)
            event = Counted(source=Aggregate(id="1", version=1), occurence_on=0)
            await broker.topic("counted-events").send([message_of(event)])
            await broker.join()

    for _ in range(2):
        application(title="service", description="", lifespan=lambda _: nullcontext())
    run_on_virtual_clock(handle_one())
    exported = generate_latest().decode()
    assert exported.count('\nmessages_settled_total{outcome="handled",queue="counted-queue"} 1.0\n') == 1
    assert "otel" not in exported
    assert "target_info" not in exported
