"""Reconciliation endpoints of the Order service."""

import copy
from typing import Any

import pytest

from shared.operations.checksum import digest
from tests.order.test_api import ORDER, PROBLEM
from tests.serving import Served


async def place(order: Served, **lines: int) -> str:
    """Place an order of these quantities; a sku with the prefix x is a second line of the same article."""
    body = copy.deepcopy(ORDER)
    body["orderLines"] = [
        {"sku": sku.removeprefix("x"), "name": sku, "quantity": quantity, "unitPrice": 1}
        for sku, quantity in lines.items()
    ]
    return str((await order.http.post("/orders", json=body)).json()["id"])


async def get(order: Served, path: str, **params: Any) -> Any:
    answer = await order.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_order_is_on_one_page_oldest_first(lone_order: Served) -> None:
    """For any page size."""
    ids = [await place(lone_order, mug=1) for _ in range(5)]
    found: list[str] = []
    while page := (await get(lone_order, "/reconciliation", limit=2, after=found[-1] if found else ""))[
        "orders"
    ]:
        assert len(page) <= 2
        found += [each["id"] for each in page]
    assert found[-5:] == ids
    assert found == sorted(set(found))


async def test_an_order_is_listed_without_its_buyer(lone_order: Served) -> None:
    """Status, version, articles and events that are not relayed; the address only as a digest."""
    order_id = await place(lone_order, tray=1, mug=2, xmug=3)
    await lone_order.http.post(f"/orders/{order_id}/complete")
    order = (await lone_order.http.get(f"/orders/{order_id}")).json()
    before = str(int(order_id) - 1)
    [listed] = (await get(lone_order, "/reconciliation", after=before))["orders"]
    assert listed == {
        "id": order_id,
        "status": "COMPLETED",
        "version": 2,
        "invoiceId": None,
        "completedAt": order["completedAt"],
        "addressDigest": digest(ORDER["deliveryAddress"]),
        "lines": [{"sku": "mug", "quantity": 5}, {"sku": "tray", "quantity": 1}],
        "totalPrice": 6,
        "priceOfLines": 6,
        "eventsWaiting": 2,
        "eventsParked": 0,
        "forwardedVersion": None,
        "handledVersion": None,
    }


async def test_parked_events_are_counted_apart_from_waiting_ones(lone_order: Served) -> None:
    """A parked event needs an operator, a waiting one does not."""
    order_id = await place(lone_order, mug=1)
    async with lone_order.database.connection() as connection:
        await connection.execute("UPDATE event_log SET parked_at = now() WHERE subject = $1", order_id)
    [listed] = (await get(lone_order, "/reconciliation", after=str(int(order_id) - 1)))["orders"]
    assert (listed["eventsWaiting"], listed["eventsParked"]) == (0, 1)


async def test_demand_counts_completed_orders(lone_order: Served) -> None:
    """Units per article of all orders that were ever completed, including cancelled ones."""
    for cancelled in (False, True):
        order_id = await place(lone_order, demanded=2, xdemanded=3, demanded2=1)
        await lone_order.http.post(f"/orders/{order_id}/complete")
        if cancelled:
            await lone_order.http.post(f"/orders/{order_id}/cancel")
    await place(lone_order, demanded=100)
    found = (await get(lone_order, "/reconciliation/demand", after="demande"))["demand"]
    assert found[:2] == [{"sku": "demanded", "units": 10}, {"sku": "demanded2", "units": 2}]
    assert (await get(lone_order, "/reconciliation/demand", after="demande", limit=1))["demand"] == found[:1]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/reconciliation?after=1", "after"),
        ("/reconciliation?limit=101", "limit"),
        ("/reconciliation/demand?after=%00", "after"),
        ("/reconciliation/demand?limit=0", "limit"),
    ],
)
async def test_an_invalid_page_is_rejected_with_its_parameter(
    lone_order: Served, path: str, field: str
) -> None:
    """422 as problem details."""
    answer = await lone_order.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert field in answer.json()["detail"]
