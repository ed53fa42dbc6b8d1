"""Overview of an order, and reconciliation endpoints of SCM."""

from typing import Any

import pytest

from shared.operations.checksum import digest
from tests.order.test_api import PROBLEM
from tests.scm.supply_chain import ADDRESS, ELSEWHERE, QUEUE, Scm, address_changed, cancelled, completed
from tests.serving import eventually


async def overview(scm: Scm, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await scm.get(f"/orders/{order_id}")
    return found


async def test_the_overview_has_the_state_of_each_module(scm_alone: Scm) -> None:
    """Fulfilment, reservations and all invoices."""
    order_id = await scm_alone.invoiced_order(lamp=2)
    scm_alone.orders.addresses[order_id] = ELSEWHERE
    await scm_alone.deliver(address_changed(order_id, lamp=2))
    found = await overview(scm_alone, order_id)
    assert found["reservations"] == [{"sku": "lamp", "quantity": 2, "status": "OPEN"}]
    assert found["waitingSince"] is None
    assert [(each["status"], each["deliveryAddress"]) for each in found["invoices"]] == [
        ("VOID", ADDRESS),
        ("ISSUED", ELSEWHERE),
    ]
    assert found["invoiceId"] == found["invoices"][1]["id"]


async def test_a_waiting_order_has_its_shortages_and_purchase_orders(scm_alone: Scm) -> None:
    """And the time since which it waits; nothing is reserved."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(completed(order_id, moon=2))
    found = await overview(scm_alone, order_id)
    assert found["waitingSince"]
    assert (found["shortages"], found["reservations"]) == ([{"sku": "moon", "quantity": 2}], [])
    [bought] = found["purchaseOrders"]
    assert [(line["sku"], line["quantity"]) for line in bought["lines"]] == [("moon", 2)]


async def test_a_parked_order_has_its_error(scm_alone: Scm) -> None:
    """Goods are in stock, but the Order service does not know the order any more."""
    order_id = scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(completed(order_id, star=1))
    assert (await overview(scm_alone, order_id))["waitingParkedAt"] is None
    del scm_alone.orders.addresses[order_id]
    await scm_alone.stock(star=1)

    async def parked() -> dict[str, Any] | None:
        found = await overview(scm_alone, order_id)
        return found if found["waitingParkedAt"] else None

    found = await eventually(parked)
    assert found["waitingError"] == f"UnknownOrder: the order service has no order {order_id}"


async def test_an_unknown_order_is_not_found(scm_alone: Scm) -> None:
    """404; its events are empty lists."""
    order_id = "2" * 20
    response = await scm_alone.served.http.get(f"/orders/{order_id}")
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert await scm_alone.get(f"/orders/{order_id}/events") == {"received": [], "published": []}


async def reconciled(scm: Scm, order_id: str) -> dict[str, Any]:
    """Return the order from the reconciliation, whose pages begin after an id."""
    before = str(int(order_id) - 1)
    found: dict[str, Any] = (await scm.get("/reconciliation", after=before, limit="1"))["orders"][0]
    assert found.pop("id") == order_id
    return found


async def test_the_reconciliation_lists_reservations_and_invoices(scm_alone: Scm) -> None:
    """The address only as a digest, which does not depend on the order of JSON members."""
    order_id = await scm_alone.invoiced_order(desk=2)
    invoice = await scm_alone.live_invoice(order_id)
    assert await reconciled(scm_alone, order_id) == {
        "status": "INVOICED",
        "version": 2,
        "lines": [{"sku": "desk", "quantity": 2}],
        "reserved": [{"sku": "desk", "quantity": 2}],
        "waiting": False,
        "parked": False,
        "claimed": [],
        "isBought": False,
        "invoiceId": invoice["id"],
        "liveInvoices": [invoice["id"]],
        "invoiceStatus": "ISSUED",
        "forwardedVersion": None,
        "handledVersion": 2,
        "addressDigest": digest(dict(reversed(ADDRESS.items()))),
    }


async def test_the_reconciliation_lists_orders_without_reservations(scm_alone: Scm) -> None:
    """A cancelled order and a waiting one."""
    withdrawn, short = await scm_alone.invoiced_order(sofa=1), scm_alone.new_order(ADDRESS)
    await scm_alone.deliver(cancelled(withdrawn, sofa=1), completed(short, moon=1))
    nothing: dict[str, Any] = {"reserved": [], "liveInvoices": [], "addressDigest": None}
    assert (await reconciled(scm_alone, withdrawn)).items() >= (nothing | {"waiting": False}).items()
    assert (await reconciled(scm_alone, short)).items() >= (nothing | {"waiting": True}).items()


async def test_the_reconciliation_lists_all_orders_in_pages(scm_alone: Scm) -> None:
    """Each once, by id."""
    ids = sorted([await scm_alone.invoiced_order() for _ in range(3)])
    everything = [each["id"] for each in (await scm_alone.get("/reconciliation", limit="100"))["orders"]]
    assert everything == sorted(everything)
    assert everything[-3:] == ids
    assert [each["id"] for each in (await scm_alone.get("/reconciliation", after=ids[0]))["orders"]] == ids[
        1:
    ]


async def test_the_reconciliation_lists_demand_per_article(scm_alone: Scm) -> None:
    """Over all days, in pages by SKU."""
    for days in (1, 2):
        message = completed(scm_alone.new_order(ADDRESS), at=days * 86_400_000, zeta=days, zoom=1)
        await scm_alone.deliver(message)
        await scm_alone.wait_until_handled(message, "scm-demand-order-event-queue")
    found = await scm_alone.get("/reconciliation/demand", after="zen")
    assert found == {"demand": [{"sku": "zeta", "units": 3}, {"sku": "zoom", "units": 2}]}
    assert await scm_alone.get("/reconciliation/demand", after="zen", limit="1") == {
        "demand": [{"sku": "zeta", "units": 3}]
    }


async def test_the_reconciliation_counts_events(scm_alone: Scm) -> None:
    """Events waiting for the adapter, and outcomes of deliveries in the inbox."""
    before = await scm_alone.get("/reconciliation/events")
    order_id = scm_alone.new_order(ADDRESS)
    message = cancelled(order_id)
    await scm_alone.deliver(message, message)
    await scm_alone.deliver(completed(order_id))

    async def all_counted() -> bool:
        """One more event waits, and one more message was handled, superseded and absorbed."""
        after = await scm_alone.get("/reconciliation/events")
        current, previous = _of_fulfilment(after), _of_fulfilment(before)
        grown = [current[name] - previous[name] for name in ("handled", "superseded", "duplicates")]
        return grown == [1, 1, 1] and after["waiting"] == before["waiting"] + 1

    await eventually(all_counted)


def _of_fulfilment(counts: dict[str, Any]) -> dict[str, int]:
    [found] = [each for each in counts["consumed"] if each["consumer"] == QUEUE]
    return dict(found)


@pytest.mark.parametrize("path", ["?after=1", "?limit=1001", "/demand?limit=0", "/demand?after=%00"])
async def test_an_invalid_query_is_rejected(scm_alone: Scm, path: str) -> None:
    """422 as problem details."""
    response = await scm_alone.served.http.get(f"/reconciliation{path}")
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
