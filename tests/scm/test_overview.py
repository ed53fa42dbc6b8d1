"""What SCM tells of all that it knows: one order, or all of them to be compared with the Order service."""

from typing import Any

import pytest

from shared.operations.checksum import digest
from tests.order.test_api import PROBLEM
from tests.scm.supply_chain import ADDRESS, ELSEWHERE, QUEUE, Scm, address_changed, cancelled, completed
from tests.serving import eventually


async def overview(scm: Scm, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await scm.get(f"/orders/{order_id}")
    return found


async def test_an_order_shows_what_each_module_knows_of_it(scm_alone: Scm) -> None:
    """How far it is, what is set aside for it, and all its invoices."""
    order_id = await scm_alone.invoiced_order(lamp=2)
    scm_alone.orders.addresses[order_id] = ELSEWHERE
    await scm_alone.deliver(address_changed(order_id, lamp=2))
    shown = await overview(scm_alone, order_id)
    assert shown["reservations"] == [{"sku": "lamp", "quantity": 2, "status": "OPEN"}]
    assert shown["waitingSince"] is None
    assert [(each["status"], each["deliveryAddress"]) for each in shown["invoices"]] == [
        ("VOID", ADDRESS),
        ("ISSUED", ELSEWHERE),
    ]
    assert shown["invoiceId"] == shown["invoices"][1]["id"]


async def test_an_order_that_waits_shows_since_when(scm_alone: Scm) -> None:
    """And for what, and what is bought for it; it has nothing yet."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(completed(order_id, moon=2))
    shown = await overview(scm_alone, order_id)
    assert shown["waitingSince"]
    assert (shown["shortages"], shown["reservations"]) == ([{"sku": "moon", "quantity": 2}], [])
    [bought] = shown["purchaseOrders"]
    assert [(line["sku"], line["quantity"]) for line in bought["lines"]] == [("moon", 2)]


async def test_an_order_that_waits_in_vain_shows_why(scm_alone: Scm) -> None:
    """There are goods for it, but the Order service does not know it: it is parked."""
    order_id = "1" * 20
    await scm_alone.deliver(completed(order_id, star=1))
    assert (await overview(scm_alone, order_id))["waitingParkedAt"] is None
    await scm_alone.stock(star=1)

    async def parked() -> dict[str, Any] | None:
        shown = await overview(scm_alone, order_id)
        return shown if shown["waitingParkedAt"] else None

    shown = await eventually(parked)
    assert shown["waitingError"] == f"UnknownOrder: the order service has no order {order_id}"


async def test_an_order_that_scm_has_not_heard_of_is_a_problem(scm_alone: Scm) -> None:
    """404, and no events."""
    order_id = "2" * 20
    answer = await scm_alone.served.http.get(f"/orders/{order_id}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert await scm_alone.get(f"/orders/{order_id}/events") == {"received": [], "published": []}


async def reconciled(scm: Scm, order_id: str) -> dict[str, Any]:
    """The order as the reconciliation tells it; pages begin after an id."""
    before = str(int(order_id) - 1)
    found: dict[str, Any] = (await scm.get("/reconciliation", after=before, limit="1"))["orders"][0]
    assert found.pop("id") == order_id
    return found


async def test_the_reconciliation_tells_what_an_order_binds(scm_alone: Scm) -> None:
    """What is set aside for it, and under which invoice it goes where; the address only as a digest, which
    does not depend on how the JSON is written."""
    order_id = await scm_alone.invoiced_order(desk=2)
    invoice = await scm_alone.live_invoice(order_id)
    assert await reconciled(scm_alone, order_id) == {
        "status": "INVOICED",
        "version": 2,
        "lines": [{"sku": "desk", "quantity": 2}],
        "reserved": [{"sku": "desk", "quantity": 2}],
        "waiting": False,
        "liveInvoices": [invoice["id"]],
        "addressDigest": digest(dict(reversed(ADDRESS.items()))),
    }


async def test_the_reconciliation_tells_that_an_order_binds_nothing(scm_alone: Scm) -> None:
    """One that was cancelled, and one that waits."""
    withdrawn, short = await scm_alone.invoiced_order(sofa=1), scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(cancelled(withdrawn, sofa=1), completed(short, moon=1))
    nothing: dict[str, Any] = {"reserved": [], "liveInvoices": [], "addressDigest": None}
    assert (await reconciled(scm_alone, withdrawn)).items() >= (nothing | {"waiting": False}).items()
    assert (await reconciled(scm_alone, short)).items() >= (nothing | {"waiting": True}).items()


async def test_the_reconciliation_goes_through_all_orders_in_pages(scm_alone: Scm) -> None:
    """Each once, in the order of their ids."""
    ids = sorted([await scm_alone.invoiced_order() for _ in range(3)])
    everything = [each["id"] for each in (await scm_alone.get("/reconciliation", limit="1000"))["orders"]]
    assert everything == sorted(everything)
    assert everything[-3:] == ids
    assert [each["id"] for each in (await scm_alone.get("/reconciliation", after=ids[0]))["orders"]] == ids[
        1:
    ]


async def test_demand_is_told_for_each_article(scm_alone: Scm) -> None:
    """Over all days, in pages by article."""
    for days in (1, 2):
        message = completed(scm_alone.new_order(ADDRESS), at=days * 86_400_000, zeta=days, zoom=1)
        await scm_alone.deliver(message)
        await scm_alone.wait_until_handled(message, "scm-demand-order-event-queue")
    told = await scm_alone.get("/reconciliation/demand", after="zen")
    assert told == {"demand": [{"sku": "zeta", "units": 3}, {"sku": "zoom", "units": 2}]}
    assert await scm_alone.get("/reconciliation/demand", after="zen", limit="1") == {
        "demand": [{"sku": "zeta", "units": 3}]
    }


async def test_events_are_counted(scm_alone: Scm) -> None:
    """Those that wait for the adapter, which is away here; and what the inbox did with each delivery."""
    before = await scm_alone.get("/reconciliation/events")
    order_id = scm_alone.new_order(ADDRESS)
    message = cancelled(order_id)
    await scm_alone.deliver(message, message)
    await scm_alone.deliver(completed(order_id))

    async def all_counted() -> bool:
        """One more event waits, and one more message was handled, superseded and absorbed."""
        after = await scm_alone.get("/reconciliation/events")
        now, was = _of_fulfilment(after), _of_fulfilment(before)
        grown = [now[name] - was[name] for name in ("handled", "superseded", "duplicates")]
        return grown == [1, 1, 1] and after["waiting"] == before["waiting"] + 1

    await eventually(all_counted)


def _of_fulfilment(counts: dict[str, Any]) -> dict[str, int]:
    [found] = [each for each in counts["consumed"] if each["consumer"] == QUEUE]
    return dict(found)


@pytest.mark.parametrize("path", ["?after=1", "?limit=1001", "/demand?limit=0", "/demand?after=%00"])
async def test_what_cannot_be_asked_is_refused(scm_alone: Scm, path: str) -> None:
    """422 as problem details."""
    answer = await scm_alone.served.http.get(f"/reconciliation{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
