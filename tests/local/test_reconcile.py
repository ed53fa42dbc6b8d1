"""`make reconcile` finds every difference between Order and SCM.

The differences are planted in the databases: no service makes them.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from local.postgres import Postgres
from local.reconcile import differences, read_settled, read_snapshot
from tests.conftest import emptied, fresh_database
from tests.order.test_reconciliation import place
from tests.serving import OPERATOR, Served, adapter_service, order_service, scm_service
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
        ("article {sku}: 3 reserved, but 2 for orders",),
    ),
    Planted(
        "an order that does not wait any more",
        "scm",
        "DELETE FROM waiting_order WHERE order_id = '{order}'",
        ("order {order}: is SHORT at SCM, and does not wait for goods",),
        state="BACKORDERED",
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
    ids: dict[str, str]

    async def differences(self) -> list[str]:
        return list(differences(await read_snapshot(self.order.http, self.scm.http)))

    async def details(self, planted: Planted) -> dict[str, str | None]:
        order_id = self.ids[planted.name]
        invoice_id = (await self.order.http.get(f"/orders/{order_id}")).json()["invoiceId"]
        return {"order": order_id, "sku": sku_of(planted), "invoice": invoice_id}

    async def command(self, *options: str) -> tuple[int, str]:
        """`python -m local reconcile`: exit code and output."""
        urls = ("--order-url", self.order.url, "--scm-url", self.scm.url)
        return await run("-m", "local", "reconcile", *urls, "--wait", "0", *options)


def sku_of(planted: Planted) -> str:
    """Return the article of the order in which the difference is planted."""
    return planted.name.replace(" ", "-")


@pytest.fixture(scope="module")
async def sides(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Sides]:
    """One system for all tests here: a difference stays in the rows of its own order."""
    async with (
        fresh_database(postgres_server, "template_order") as order_database,
        fresh_database(postgres_server, "template_scm") as scm_database,
        adapter_service(await emptied(aws_server)) as adapter,
        order_service(order_database, aws_server, adapter.url) as order,
        scm_service(scm_database, aws_server, adapter.url, order.url) as scm,
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
            _, differing = await read_settled(order.http, scm.http, timeout=60)
            assert differing == []
        yield Sides(order, scm, ids)


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
    assert f"{len(PLANTED)} orders, {len(PLANTED) - 1} of them at SCM" in output
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


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
async def test_a_difference_is_reported(sides: Sides, planted: Planted) -> None:
    """In sentences that name the order, the article or the service; no other difference is."""
    details = await sides.details(planted)
    before = await sides.differences()
    async with getattr(sides, planted.service).database.connection() as connection:
        await connection.execute(planted.statement.format(**details))
    found = set(await sides.differences()) - set(before)
    assert found == {each.format(**details) for each in planted.reported}


async def test_the_command_prints_every_difference_and_fails(sides: Sides) -> None:
    """Exit code 1. The differences planted above are still there."""
    code, output = await sides.command()
    assert code == 1
    found = await sides.differences()
    assert len(found) > len(PLANTED)
    assert all(f"✗ {each}\n" in output for each in found)
    assert f"{len(found)} differences" in output
