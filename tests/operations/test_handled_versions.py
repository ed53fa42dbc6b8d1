"""Forged messages in the services' queues, and the repair of a version that one of them has set."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from snsqs.headers import ID, SEQUENCE, SOURCE, SUBJECT, TYPE
from typer.testing import CliRunner

from local.postgres import Postgres
from services.console.main import cli
from tests.console.letters import dead_letter_reason
from tests.console.operated import Operated, operated
from tests.serving import OPERATOR, SERVICE, Served, eventually
from tests.system.test_flow import completed_order, invoiced, status_is, stock

OF_ORDER = "scm-adapter-order-event-queue"
OF_SCM = "order-adapter-scm-event-queue"

GREATEST = 10**18 - 1


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    """One system for all tests of the module; each test has an order of its own."""
    async with operated(postgres_server, aws_server) as running:
        yield running


@pytest.fixture
async def order_id(system: Operated) -> str:
    """A paid order with an invoice."""
    await stock(system.scm, mug=1_000)
    placed = await completed_order(system.order, mug=2)
    await eventually(lambda: invoiced(system.order, placed))
    return placed


async def send(
    system: Operated,
    queue: str,
    event_type: str,
    order_id: str,
    version: int,
    status: str,
    **headers: str | None,
) -> None:
    """Send a message about an order to a queue; a header of None is left out."""
    source: dict[str, Any] = {"id": order_id, "version": version, "status": status}
    if queue == OF_ORDER:
        source["orderLines"] = [{"sku": "mug", "quantity": 2}]
    about: dict[str, str | None] = {
        ID: str(uuid.uuid4()),
        TYPE: event_type,
        SUBJECT: order_id,
        SEQUENCE: str(version),
        SOURCE: "order" if queue == OF_ORDER else "scm",
    }
    given = {name: value for name, value in (about | headers).items() if value is not None}
    await system.aws.sqs.send_message(
        QueueUrl=(await system.aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"],
        MessageBody=json.dumps({"source": source, "occurenceOn": 1}),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in given.items()
        },
    )


async def last_outcome(service: Served, order_id: str, version: int) -> str | None:
    """Return the outcome of the message with this version that the service received last."""
    received = (await service.http.get(f"/orders/{order_id}/events")).json()["received"]
    outcomes = [each["outcome"] for each in received if each["version"] == version]
    return outcomes[-1] if outcomes else None


MISSING = [{SUBJECT: None}, {SEQUENCE: None}, {ID: None, SUBJECT: None, SEQUENCE: None}, {SOURCE: None}]


@pytest.mark.parametrize("missing", MISSING, ids=" ".join)
async def test_an_old_message_without_headers_changes_no_order(
    system: Operated, order_id: str, missing: dict[str, str | None]
) -> None:
    """Its payload has the version."""
    before = (await system.order.http.get(f"/orders/{order_id}")).json()
    await send(system, OF_SCM, "StockShort", order_id, 1, "SHORT", **missing)
    assert await eventually(lambda: last_outcome(system.order, order_id, 1))

    async def is_superseded() -> bool:
        received = (await system.order.http.get(f"/orders/{order_id}/events")).json()["received"]
        return received[-1]["version"] == 1 and bool(received[-1]["outcome"] == "superseded")

    await eventually(is_superseded)
    assert (await system.order.http.get(f"/orders/{order_id}")).json() == before


@pytest.mark.parametrize(("queue", "source"), [(OF_SCM, "order"), (OF_ORDER, "scm"), (OF_ORDER, "mallory")])
async def test_a_message_of_another_source_is_a_dead_letter(
    system: Operated, order_id: str, queue: str, source: str
) -> None:
    """Its versions would be compared with no others."""
    before = (await system.order.http.get(f"/orders/{order_id}")).json()
    event_type, status = ("StockShort", "SHORT") if queue == OF_SCM else ("OrderCancelled", "CANCELLING")
    await send(system, queue, event_type, order_id, 1, status, **{SOURCE: source})
    expected = "scm" if queue == OF_SCM else "order"
    assert await dead_letter_reason(system.aws, queue) == (
        f"TerminalError: {SOURCE} '{source}' is not accepted; {queue} takes messages of {expected}"
    )
    await purge(system, queue)
    assert (await system.order.http.get(f"/orders/{order_id}")).json() == before


async def purge(system: Operated, queue: str) -> None:
    url = (await system.aws.sqs.get_queue_url(QueueName=f"{queue}-dlq"))["QueueUrl"]
    await system.aws.sqs.purge_queue(QueueUrl=url)


async def test_a_version_jump_supersedes_no_cancellation(system: Operated, order_id: str) -> None:
    """At SCM: the forged message is a dead letter, and the order is cancelled."""
    await send(system, OF_ORDER, "DeliveryAddressChanged", order_id, GREATEST, "PREPARING")
    reason = await dead_letter_reason(system.aws, OF_ORDER)
    assert reason.startswith(f"VersionJump: version {GREATEST} of {order_id} is ")
    await purge(system, OF_ORDER)
    (await system.order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()
    await eventually(lambda: status_is(system.order, order_id, "CANCELLED"))


async def test_a_version_jump_supersedes_no_reply(system: Operated, order_id: str) -> None:
    """At Order: the parcel's dispatch arrives."""
    invoice_id = (await system.order.http.get(f"/orders/{order_id}")).json()["invoiceId"]
    await send(system, OF_SCM, "StockReserved", order_id, GREATEST, "INVOICED")
    assert (await dead_letter_reason(system.aws, OF_SCM)).startswith(f"VersionJump: version {GREATEST} of")
    await purge(system, OF_SCM)
    answer = await system.scm.http.post(f"/external-api/invoices/{invoice_id}/dispatched", headers=OPERATOR)
    answer.raise_for_status()
    await eventually(lambda: status_is(system.order, order_id, "SHIPPED"))


async def forge(system: Operated, order_id: str) -> None:
    """Let SCM handle a version that supersedes the cancellation after it."""
    await send(system, OF_ORDER, "DeliveryAddressChanged", order_id, 1_000, "PREPARING")
    await eventually(lambda: last_outcome(system.scm, order_id, 1_000))
    (await system.order.http.post(f"/orders/{order_id}/cancel")).raise_for_status()

    async def is_superseded() -> bool:
        received = (await system.scm.http.get(f"/orders/{order_id}/events")).json()["received"]
        return bool(received[-1]["outcome"] == "superseded")

    await eventually(is_superseded)


async def replayed(system: Operated, order_id: str) -> None:
    begun = await system.post("/api/replay", {"selection": {"orderId": order_id}}, status=202)

    async def has_ended() -> bool:
        return bool((await system.get(f"/api/operations/{begun['id']}"))["status"] != "running")

    await eventually(has_ended)


async def test_a_repaired_version_and_a_replay_restore_agreement(system: Operated, order_id: str) -> None:
    """The superseded cancellation has its effect. The audit names the operator and both versions."""
    await forge(system, order_id)
    found = await system.get("/api/handled-versions", orderId=order_id)
    assert {"service": "scm", "consumer": OF_ORDER, "source": "order", "version": 1_000} in found["versions"]
    command = {"service": "scm", "queue": OF_ORDER, "orderId": order_id, "source": "order", "version": 2}
    assert await system.post("/api/handled-versions/repair", command) == {"before": 1_000, "after": 2}
    ended, begun = await system.get("/api/audit", limit=2)
    assert (begun["step"], ended["step"]) == ("begun", "ended")
    for record in (begun, ended):
        assert (record["who"], record["what"]) == ("developer", "repair version")
        assert (record["on"], record["orderId"], record["version"]) == (OF_ORDER, order_id, 2)
    assert ended["before"] == 1_000
    await replayed(system, order_id)
    await eventually(lambda: status_is(system.order, order_id, "CANCELLED"))


async def test_the_same_on_the_command_line(system: Operated, order_id: str) -> None:
    """`versions list` and `versions repair`, and the exit code for an unknown queue."""

    async def command(*arguments: str) -> tuple[int, list[list[str]]]:
        env = {"CONSOLE_URL": system.console.url}
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)
        lines = [line.split() for line in result.stdout.splitlines() if not line.startswith("[")]
        return result.exit_code, lines

    code, (heading, *rows) = await command("versions", "list", "--order", order_id)
    assert (code, heading) == (0, ["service", "queue", "source", "version"])
    assert ["scm", OF_ORDER, "order", "2"] in rows
    repair = ("versions", "repair", "--service", "scm", "--order", order_id, "--source", "order")
    code, lines = await command(*repair, "--queue", OF_ORDER, "--version", "7")
    assert (code, lines) == (0, [f"order {order_id} at {OF_ORDER}: version 2 → 7".split()])
    assert (await command(*repair, "--queue", "another", "--version", "7"))[0] == 2


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (SERVICE, 403)])
async def test_only_operators_repair_versions(
    system: Operated, order_id: str, headers: dict[str, str], status: int
) -> None:
    """At the service itself as well as at the console."""
    body: dict[str, Any] = {"orderId": order_id, "version": 1, "source": "order"}
    answer = await system.scm.http.put(f"/handled-versions/{OF_ORDER}", json=body, headers=headers)
    assert answer.status_code == status
    body |= {"service": "scm", "queue": OF_ORDER}
    answer = await system.console.http.post("/api/handled-versions/repair", json=body, headers=headers)
    assert answer.status_code == (401 if status == 401 else 403)
