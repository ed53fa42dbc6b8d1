"""`make reconcile` finds every violation of an invariant.

The differences are planted in the databases: no service makes them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from snsqs import aws_clients

from local.postgres import Postgres
from local.reconcile import compare, compare_settled
from shared.runtime.tokens import DEVELOPMENT_OPERATOR
from tests.adapter.test_adapter import subscribe
from tests.conftest import REGION, emptied, fresh_database
from tests.order.test_reconciliation import place
from tests.serving import (
    OPERATOR,
    Served,
    adapter_service,
    console_service,
    eventually,
    order_service,
    register,
    scm_service,
)
from tests.system.test_flow import stock
from tests.system.test_processes import run


@dataclass(frozen=True)
class Planted:
    """A statement for the database of a service, and the sentences that report its effect. `{order}` and
    `{sku}` stand for an order in that state, of two pieces."""

    name: str
    service: str
    statement: str
    reported: tuple[str, ...]
    state: str = "PREPARING"


UNKNOWN_TO_ORDER = "20200101000000000000"
UNKNOWN = "20200101000000000001"
UNKNOWN_INVOICED = "20200101000000000002"
INVOICE = "00000000-0000-0000-0000-000000000000"

DISPATCHED = ("SHIPPED", "DELIVERED")

PLANTED = [
    Planted(
        "an order that only SCM knows",
        "scm",
        f"INSERT INTO fulfilment VALUES ('{UNKNOWN_TO_ORDER}', 1, 'CANCELLED', '[]', '[]')",
        (f"order {UNKNOWN_TO_ORDER}: known to SCM, but not to the Order service",),
    ),
    Planted(
        "a fulfilment that is lost",
        "scm",
        "DELETE FROM fulfilment WHERE order_id = '{order}'",
        (
            "order {order}: is PREPARING, but unknown to SCM",
            "order {order}: SCM has records of it, but no fulfilment",
            "article {sku}: 2 reserved, but 0 for orders",
        ),
    ),
    Planted(
        "an unpaid order at SCM",
        "scm",
        "INSERT INTO fulfilment VALUES ('{order}', 1, 'SHORT', '[]', '[]')",
        (
            "order {order}: was never completed, yet SCM has it as SHORT",
            "order {order}: is SHORT at SCM, and does not wait for goods",
            "order {order}: is short of goods, and nothing was bought for it",
        ),
        state="PLACED",
    ),
    Planted(
        "a second status",
        "order",
        "UPDATE orders SET status = 'DELIVERED' WHERE id = '{order}'",
        ("order {order}: is DELIVERED, and INVOICED at SCM",),
    ),
    Planted(
        "a delivered order that was never paid",
        "order",
        "UPDATE orders SET status = 'DELIVERED' WHERE id = '{order}'",
        ("order {order}: is DELIVERED, but was never paid",),
        state="PLACED",
    ),
    Planted(
        "a lost payment of a delivered order",
        "order",
        "UPDATE orders SET completed_at = NULL WHERE id = '{order}'",
        (
            "order {order}: is DELIVERED, but was never paid",
            "order {order}: was never completed, yet SCM has it as DELIVERED",
            "article {sku}: 0 on completed orders, but demand counted 2",
        ),
        state="DELIVERED",
    ),
    Planted(
        "an order that is lost",
        "order",
        "DELETE FROM orders WHERE id = '{order}'",
        (
            "order {order}: known to SCM, but not to the Order service",
            "order {order}: the Order service has events of it, but not the order",
            "article {sku}: 0 on completed orders, but demand counted 2",
        ),
    ),
    Planted(
        "an unpaid order that is lost",
        "order",
        "DELETE FROM orders WHERE id = '{order}'",
        ("order {order}: the Order service has events of it, but not the order",),
        state="PLACED",
    ),
    Planted(
        "a total that is not that of the lines",
        "order",
        "UPDATE orders SET total_price = 7 WHERE id = '{order}'",
        ("order {order}: its total is 7, that of its lines 2",),
    ),
    Planted(
        "a version ahead at SCM",
        "scm",
        "UPDATE inbox_version SET sequence = 900 WHERE subject = '{order}' AND consumer LIKE 'scm-adapter%'",
        ("order {order}: SCM has handled version 900 of it, Order is at version 4",),
    ),
    Planted(
        "a version behind at SCM",
        "scm",
        "UPDATE inbox_version SET sequence = 1 WHERE subject = '{order}'",
        ("order {order}: SCM has handled version 1 of it, Order published 2",),
    ),
    Planted(
        "no version at SCM",
        "scm",
        "DELETE FROM inbox_version WHERE subject = '{order}'",
        ("order {order}: SCM has handled no version of it, Order published 2",),
    ),
    Planted(
        "a version ahead at Order",
        "order",
        "UPDATE inbox_version SET sequence = 900 WHERE subject = '{order}'",
        ("order {order}: Order has handled version 900 of it, SCM is at version 2",),
    ),
    Planted(
        "a version behind at Order",
        "order",
        "UPDATE inbox_version SET sequence = 1 WHERE subject = '{order}'",
        ("order {order}: Order has handled version 1 of it, SCM published 2",),
    ),
    Planted(
        "a cancellation without an answer",
        "order",
        "UPDATE orders SET status = 'CANCELLING' WHERE id = '{order}'",
        ("order {order}: is CANCELLING, and CANCELLED at SCM",),
        state="CANCELLED",
    ),
    Planted(
        "a lost invoice",
        "scm",
        "DELETE FROM invoice WHERE order_id = '{order}'",
        ("order {order}: is INVOICED at SCM, and its live invoices are: none",),
    ),
    Planted(
        "an invoice that should be void",
        "scm",
        "UPDATE invoice SET voided_at = NULL, id = '" + INVOICE + "' WHERE order_id = '{order}'",
        ("order {order}: is CANCELLED at SCM, and its live invoices are: " + INVOICE,),
        state="CANCELLED",
    ),
    Planted(
        "an invoice that its fulfilment does not name",
        "scm",
        "UPDATE fulfilment SET invoice_id = 'another' WHERE order_id = '{order}'",
        ("order {order}: its fulfilment names the invoice another, the live one is {invoice}",),
    ),
    Planted(
        "an invoice that was dispatched without its order",
        "scm",
        "UPDATE invoice SET dispatched_at = now() WHERE order_id = '{order}'",
        ("order {order}: is INVOICED at SCM, and its invoice is DISPATCHED",),
    ),
    Planted(
        "an invoice of a delivered order that was not delivered",
        "scm",
        "UPDATE invoice SET delivered_at = NULL WHERE order_id = '{order}'",
        ("order {order}: is DELIVERED at SCM, and its invoice is DISPATCHED",),
        state="DELIVERED",
    ),
    Planted(
        "an invoice of an unknown order",
        "scm",
        f"""
        INSERT INTO invoice (id, order_id, delivery_address)
        VALUES (gen_random_uuid(), '{UNKNOWN_INVOICED}', '{{{{}}}}')
        """,
        (f"order {UNKNOWN_INVOICED}: SCM has records of it, but no fulfilment",),
    ),
    Planted(
        "an invoice that only a cancelled order knows",
        "order",
        "UPDATE orders SET invoice_id = 'another' WHERE id = '{order}'",
        ("order {order}: knows the invoice another, the live one is None",),
        state="CANCELLED",
    ),
    Planted(
        "another invoice",
        "order",
        "UPDATE orders SET invoice_id = 'another' WHERE id = '{order}'",
        ("order {order}: knows the invoice another, the live one is {invoice}",),
    ),
    Planted(
        "another address",
        "order",
        "UPDATE orders SET delivery_address = '{{}}' WHERE id = '{order}'",
        ("order {order}: its invoice has another address",),
    ),
    *(
        Planted(
            f"another address of what is {state}",
            "order",
            "UPDATE orders SET delivery_address = '{{}}' WHERE id = '{order}'",
            ("order {order}: its parcel went to another address",),
            state=state,
        )
        for state in DISPATCHED
    ),
    Planted(
        "other lines",
        "scm",
        """UPDATE fulfilment SET lines = '[{{"sku": "{sku}", "quantity": 3}}]' WHERE order_id = '{order}'""",
        (
            "order {order}: SCM has other lines",
            "order {order}: is INVOICED at SCM, with 2 {sku} reserved for it",
        ),
    ),
    Planted(
        "a reservation of a cancelled order",
        "scm",
        """
        UPDATE stock SET reserved = 2 WHERE sku = '{sku}';
        UPDATE reservation SET status = 'OPEN' WHERE order_id = '{order}'
        """,
        ("order {order}: is CANCELLED at SCM, with 2 {sku} reserved for it",),
        state="CANCELLED",
    ),
    Planted(
        "a lost reservation",
        "scm",
        "DELETE FROM reservation WHERE order_id = '{order}'",
        (
            "article {sku}: 2 reserved, but 0 for orders",
            "order {order}: is INVOICED at SCM, with nothing reserved for it",
        ),
    ),
    Planted(
        "a reservation of an unknown order",
        "scm",
        f"""
        UPDATE stock SET reserved = 3 WHERE sku = '{{sku}}';
        INSERT INTO reservation (order_id, sku, quantity, status) VALUES ('{UNKNOWN}', '{{sku}}', 1, 'OPEN')
        """,
        (
            "article {sku}: 3 reserved, but 2 for orders",
            f"order {UNKNOWN}: SCM has records of it, but no fulfilment",
        ),
    ),
    Planted(
        "an order that does not wait any more",
        "scm",
        "DELETE FROM waiting_order WHERE order_id = '{order}'",
        ("order {order}: is SHORT at SCM, and does not wait for goods",),
        state="BACKORDERED",
    ),
    Planted(
        "a parked order",
        "scm",
        """
        UPDATE waiting_order SET parked_at = now(), last_error = 'no' WHERE order_id = '{order}';
        UPDATE waiting_line SET position = NULL WHERE order_id = '{order}'
        """,
        ("order {order}: waits for goods, but is parked and not retried",),
        state="BACKORDERED",
    ),
    Planted(
        "a lost claim",
        "scm",
        "UPDATE waiting_line SET position = NULL WHERE order_id = '{order}'",
        ("order {order}: waits for goods, and claims nothing",),
        state="BACKORDERED",
    ),
    Planted(
        "a claim of fewer pieces",
        "scm",
        "UPDATE waiting_line SET quantity = 1 WHERE order_id = '{order}'",
        ("order {order}: waits for goods, and claims 1 {sku}",),
        state="BACKORDERED",
    ),
    Planted(
        "a missing stock row",
        "scm",
        """
        SET LOCAL session_replication_role = replica;
        DELETE FROM stock WHERE sku = '{sku}';
        DELETE FROM stock_movement WHERE sku = '{sku}'
        """,
        ("article {sku}: has orders or purchases, but no stock row",),
        state="SHIPPED",
    ),
    Planted(
        "a paused listener",
        "scm",
        "INSERT INTO paused_listener (queue, paused_by) VALUES ('scm-demand-order-event-queue', 'kim')",
        ("queue scm-demand-order-event-queue: its listener is paused",),
    ),
    Planted(
        "a purchase order that is lost",
        "scm",
        "DELETE FROM purchase_order WHERE order_id = '{order}'",
        ("order {order}: is short of goods, and nothing was bought for it",),
        state="BACKORDERED",
    ),
    Planted(
        "goods that came and are not in stock",
        "scm",
        """
        UPDATE purchase_order SET lines = '[{{"sku": "{sku}", "quantity": 2, "received": 2}}]'
        WHERE order_id = '{order}'
        """,
        ("article {sku}: 2 received on purchase orders, but 0 taken into stock",),
        state="BACKORDERED",
    ),
    Planted(
        "goods that left and are still in stock",
        "scm",
        """
        UPDATE stock SET on_hand = 10 WHERE sku = '{sku}';
        DELETE FROM stock_movement WHERE sku = '{sku}' AND reason = 'DISPATCHED'
        """,
        ("article {sku}: 2 on dispatched orders, but 0 taken out of stock",),
        state="SHIPPED",
    ),
    Planted(
        "stock off by one",
        "scm",
        "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = '{sku}'",
        ("article {sku}: 11 in stock, but the sum of its movements is 10",),
    ),
    Planted(
        "demand off by one",
        "scm",
        "UPDATE demand SET units = units + 1 WHERE sku = '{sku}'",
        ("article {sku}: 2 on completed orders, but demand counted 3",),
    ),
    Planted(
        "a parked event",
        "order",
        """
        UPDATE event_log SET decision = NULL, decided_at = NULL, parked_at = now()
        WHERE subject = '{order}' AND type = 'OrderCompleted'
        """,
        ("order: events parked: 1",),
    ),
    Planted(
        "an event that waits",
        "scm",
        """
        UPDATE event_log SET decision = NULL, decided_at = NULL, next_attempt_at = 'infinity'
        WHERE subject = '{order}' AND type = 'DeliveryInvoiceIssued'
        """,
        ("scm: events waiting: 1",),
    ),
]


@dataclass
class Sides:
    """Both services, and an order per planted difference, on which they agree before."""

    order: Served
    scm: Served
    console: Served
    ids: dict[str, str]

    async def differences(self) -> list[str]:
        return (await compare(self.order.http, self.scm.http, self.console.http)).differences

    async def details(self, planted: Planted) -> dict[str, str | None]:
        order_id = self.ids[planted.name]
        invoice_id = (await self.order.http.get(f"/orders/{order_id}")).json()["invoiceId"]
        return {"order": order_id, "sku": sku_of(planted), "invoice": invoice_id}

    async def command(self, *options: str, **environment: str) -> tuple[int, str]:
        """`python -m local reconcile`: exit code and output."""
        urls = ("--order-url", self.order.url, "--scm-url", self.scm.url, "--console-url", self.console.url)
        return await run("-m", "local", "reconcile", *urls, "--wait", "0", *options, **environment)


def sku_of(planted: Planted) -> str:
    """Return the article of the order in which the difference is planted."""
    return planted.name.replace(" ", "-")


@pytest.fixture(scope="module")
async def sides(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Sides]:
    """One system for all tests here: a difference stays in the rows of its own order."""
    async with (
        fresh_database(postgres_server, "template_order") as order_database,
        fresh_database(postgres_server, "template_scm") as scm_database,
        fresh_database(postgres_server, "template_console") as console_database,
        adapter_service(await emptied(aws_server)) as adapter,
        order_service(order_database, aws_server, adapter.url) as order,
        scm_service(scm_database, aws_server, adapter.url, order.url) as scm,
        console_service(
            console_database, aws_server, *(each.registration for each in (order, adapter, scm))
        ) as console,
    ):
        await stock(scm, **{sku_of(each): 10 for each in PLANTED if each.state != "BACKORDERED"})
        ids = {each.name: await place(order, **{sku_of(each): 2}) for each in PLANTED}
        for command, states in (
            ("complete", ("PREPARING", "CANCELLED", "BACKORDERED", *DISPATCHED)),
            ("cancel", ("CANCELLED",)),
            ("dispatched", DISPATCHED),
            ("delivered", ("DELIVERED",)),
        ):
            for each in PLANTED:
                if each.state in states:
                    await give_command(order, scm, ids[each.name], command)
            report = await compare_settled(order.http, scm.http, console.http, timeout=60)
            assert report.differences == []
        yield Sides(order, scm, console, ids)


async def give_command(order: Served, scm: Served, order_id: str, command: str) -> None:
    """Commands of customers go to the Order service, those of carriers to SCM."""
    if command in ("dispatched", "delivered"):
        invoice_id = (await order.http.get(f"/orders/{order_id}")).json()["invoiceId"]
        answer = await scm.http.post(f"/external-api/invoices/{invoice_id}/{command}", headers=OPERATOR)
    else:
        answer = await order.http.post(f"/orders/{order_id}/{command}")
    answer.raise_for_status()


async def test_without_differences_the_exit_code_is_0(sides: Sides) -> None:
    """For prepared, cancelled, backordered, unpaid and dispatched orders."""
    states = set()
    for planted in PLANTED:
        order = (await sides.order.http.get(f"/orders/{sides.ids[planted.name]}")).json()
        assert order["status"] == planted.state
        states.add(order["status"])
    assert states == {"PREPARING", "CANCELLED", "BACKORDERED", "PLACED", *DISPATCHED}
    code, output = await sides.command()
    assert code == 0
    at_scm = sum(each.state != "PLACED" for each in PLANTED)
    assert f"{len(PLANTED)} orders, {at_scm} of them at SCM" in output
    assert "no differences" in output


async def test_an_unreadable_service_is_named(sides: Sides) -> None:
    """In one line with its URL, for a refused connection and for an unexpected answer."""
    (refused, unreachable), (unexpected, misdirected) = await asyncio.gather(
        sides.command("--scm-url", "http://127.0.0.1:1"),
        sides.command("--order-url", f"{sides.scm.url}/nowhere"),
    )
    assert (refused, unexpected) == (1, 1)
    assert unreachable.startswith("error: http://127.0.0.1:1/reconciliation ")
    assert misdirected.startswith(f"error: {sides.scm.url}/nowhere/reconciliation ")
    assert (unreachable.count("\n"), misdirected.count("\n")) == (1, 1)


async def test_the_token_of_the_operator_is_sent(sides: Sides) -> None:
    """Reads need one outside of development; an unknown one is rejected everywhere."""
    code, output = await sides.command(OPERATOR_TOKEN=DEVELOPMENT_OPERATOR.token.get_secret_value())
    assert (code, "no differences" in output) == (0, True)
    code, output = await sides.command(OPERATOR_TOKEN="token-of-another-system")
    assert code == 1
    assert output.startswith(f"error: {sides.order.url}/reconciliation cannot be read: Client error '401 ")


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
async def test_a_difference_is_reported(sides: Sides, planted: Planted) -> None:
    """In sentences that name the order, the article or the service; no other difference is."""
    details = await sides.details(planted)
    before = await sides.differences()
    async with getattr(sides, planted.service).database.connection() as connection:
        await connection.execute(planted.statement.format(**details))
    expected = {each.format(**details) for each in planted.reported}
    found: set[str] = set()

    async def is_reported() -> bool:
        """The console's figures are up to a second old."""
        found.clear()
        found.update(set(await sides.differences()) - set(before))
        return found >= expected

    with suppress(AssertionError):  # the comparison shows more
        await eventually(is_reported, within=10)
    assert found == expected


async def test_dead_letters_are_reported(sides: Sides, aws_server: str) -> None:
    """With their number, by queue."""
    queue = "scm-demand-order-event-queue-dlq"
    async with aws_clients(region=REGION, endpoint_url=aws_server) as clients:
        url = (await clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        for body in ("1", "2"):
            await clients.sqs.send_message(QueueUrl=url, MessageBody=body)

    async def are_reported() -> bool:
        return f"queue {queue}: dead letters: 2" in await sides.differences()

    await eventually(are_reported)


async def test_a_queue_without_a_known_consumer_is_reported(sides: Sides, aws_server: str) -> None:
    """The work of its consumer cannot be checked."""
    async with aws_clients(region=REGION, endpoint_url=aws_server) as clients:
        await subscribe(clients, "order-events")

    async def is_reported() -> bool:
        sentence = "queue all-of-it: not checked, no registered service listens to it"
        return sentence in await sides.differences()

    await eventually(is_reported, within=90)


async def test_a_service_that_does_not_answer_is_reported(sides: Sides) -> None:
    """Also one that is neither Order nor SCM: what it stored cannot be checked."""
    await register(
        sides.console, sides.scm.registered_at("http://127.0.0.1:1").model_copy(update={"service": "billing"})
    )

    async def is_reported() -> bool:
        return any(
            each.startswith("billing: not checked, it is down: ") for each in await sides.differences()
        )

    await eventually(is_reported)


async def test_the_memory_of_a_report_is_bounded(sides: Sides) -> None:
    """It lists a thousand differences, and counts the others."""
    async with sides.scm.database.transaction() as tx:
        await tx.connection.execute(
            "INSERT INTO fulfilment SELECT to_char(number, 'FM00000000000000000000'), 1, 'CANCELLED', "
            "'[]', '[]' FROM generate_series(1, 1500) AS number"
        )
    report = await compare(sides.order.http, sides.scm.http)
    assert len(report.differences) == 1_000
    assert report.count > 1_500
    async with sides.scm.database.transaction() as tx:
        await tx.connection.execute("DELETE FROM fulfilment WHERE order_id < '1'")


async def test_the_command_prints_every_difference_and_fails(sides: Sides) -> None:
    """Exit code 1. The differences planted above are still there."""
    code, output = await sides.command()
    assert code == 1
    found = await sides.differences()
    assert len(found) > len(PLANTED)
    assert all(f"✗ {each}\n" in output for each in found)
    assert f"{len(found)} differences" in output
