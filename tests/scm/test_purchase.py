"""Purchase: missing goods are ordered once, and deliveries recorded once."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.scm.warehouse import Warehouse

ORDERS = "/partner-office/purchase-orders"


async def supplies(warehouse: Warehouse, **suppliers: str) -> None:
    for sku, supplier in suppliers.items():
        path = f"/back-office/supplies/{sku}"
        (await warehouse.http.put(path, json={"supplier": supplier})).raise_for_status()


async def purchase_orders(warehouse: Warehouse, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await warehouse.get(ORDERS, **params)
    return found


async def purchase_order(warehouse: Warehouse, **lines: int) -> int:
    """Create an order for goods that are not in stock and confirm its purchase order. Return its id."""
    order_id = await warehouse.order(**lines)
    [number] = [each["id"] for each in await purchase_orders(warehouse) if each["orderId"] == order_id]
    (await warehouse.http.post(f"{ORDERS}/{number}/confirm")).raise_for_status()
    return int(number)


async def receive(warehouse: Warehouse, number: int, note: str, **lines: int) -> httpx.Response:
    body = {
        "deliveryNote": note,
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()],
    }
    return await warehouse.http.post(f"{ORDERS}/{number}/receive", json=body)


async def test_missing_goods_are_ordered_from_their_suppliers(warehouse: Warehouse) -> None:
    """One purchase order per supplier; the tray, which has none, is bought on the open market."""
    await supplies(warehouse, mug="potter", cup="potter", lamp="smith")
    await warehouse.count(mug=1)
    order_id = await warehouse.order(mug=3, cup=2, lamp=1, tray=4)
    found = await purchase_orders(warehouse)
    assert [(each["orderId"], each["status"]) for each in found] == [(order_id, "RAISED")] * 3
    assert {each["supplier"]: each["lines"] for each in found} == {
        "potter": [
            {"sku": "cup", "quantity": 2, "received": 0},
            {"sku": "mug", "quantity": 2, "received": 0},
        ],
        "smith": [{"sku": "lamp", "quantity": 1, "received": 0}],
        "open-market": [{"sku": "tray", "quantity": 4, "received": 0}],
    }


async def test_goods_in_stock_are_not_ordered(warehouse: Warehouse) -> None:
    """Nor goods that already have a purchase order."""
    await warehouse.count(mug=3)
    await warehouse.order(mug=3)
    await warehouse.order(mug=1)
    async with warehouse.allocating():
        await warehouse.count(mug=3)
    assert len(await purchase_orders(warehouse)) == 1


async def test_claimed_goods_are_ordered_again(warehouse: Warehouse) -> None:
    """A later order needs its full quantity, because waiting orders claim the stock."""
    await warehouse.count(mug=3)
    await warehouse.order(mug=5)
    await warehouse.order(mug=4)
    assert [each["lines"][0]["quantity"] for each in await purchase_orders(warehouse)] == [2, 4]


async def test_received_goods_serve_the_waiting_order(warehouse: Warehouse) -> None:
    """Received in parts, each with its delivery note; the order is served once all are in stock."""
    number = await purchase_order(warehouse, mug=5, tray=1)
    [order_id] = await warehouse.waiting()
    async with warehouse.allocating():
        partly = (await receive(warehouse, number, "note-1", mug=3)).raise_for_status().json()
        assert partly["status"] == "PARTLY_RECEIVED"
        assert partly["lines"][0] == {"sku": "mug", "quantity": 5, "received": 3}
        assert await warehouse.stock("mug") == (3, 0)
        assert await warehouse.is_waiting(order_id)
        fully = (await receive(warehouse, number, "note-2", mug=2, tray=1)).raise_for_status().json()
        assert (fully["status"], fully["receivedAt"] is not None) == ("RECEIVED", True)
        await warehouse.wait_until_served(order_id)
    assert await warehouse.stock("mug") == (5, 5)
    movements = await warehouse.get("/back-office/stock/mug/movements")
    assert [each["reference"] for each in movements] == [
        f"purchase order {number}, note-1",
        f"purchase order {number}, note-2",
    ]


async def test_a_delivery_note_is_recorded_once(warehouse: Warehouse) -> None:
    """Concurrent and later repetitions get the same response."""
    number = await purchase_order(warehouse, mug=5)
    answers = await asyncio.gather(*(receive(warehouse, number, "note-1", mug=3) for _ in range(8)))
    answers.append(await receive(warehouse, number, "note-1", mug=3))
    assert {(each.status_code, each.text) for each in answers} == {(200, answers[0].text)}
    assert await warehouse.stock("mug") == (3, 0)


async def test_a_delivery_note_with_other_goods_is_rejected(warehouse: Warehouse) -> None:
    """409: one of the two reports must be wrong."""
    number = await purchase_order(warehouse, mug=5)
    await receive(warehouse, number, "note-1", mug=3)
    response = await receive(warehouse, number, "note-1", mug=2)
    assert response.status_code == 409
    assert response.json()["detail"] == "other goods were received with delivery note note-1: mug 3"
    assert await warehouse.stock("mug") == (3, 0)


async def test_more_goods_than_ordered_are_rejected(warehouse: Warehouse) -> None:
    """409; no line of that delivery note is recorded."""
    number = await purchase_order(warehouse, mug=5, tray=1)
    await receive(warehouse, number, "note-1", mug=3)
    response = await receive(warehouse, number, "note-2", tray=1, mug=3)
    assert response.status_code == 409
    assert response.json()["detail"] == (
        f"of mug, 2 are outstanding on purchase order {number}; 3 are more than were ordered"
    )
    assert await warehouse.stock("mug") == (3, 0)
    assert (await receive(warehouse, number, "note-2", tray=1, mug=2)).json()["status"] == "RECEIVED"
    assert (await receive(warehouse, number, "note-3", mug=1)).status_code == 409


async def test_goods_that_were_not_ordered_are_rejected(warehouse: Warehouse) -> None:
    """409 with their SKUs."""
    number = await purchase_order(warehouse, mug=5)
    response = await receive(warehouse, number, "note-1", mug=1, vase=1, lamp=2)
    assert response.status_code == 409
    assert response.json()["detail"] == f"purchase order {number} has no lamp, vase"
    assert await warehouse.stock("mug") == (0, 0)


async def test_an_article_may_be_on_several_lines_of_a_delivery_note(warehouse: Warehouse) -> None:
    """Their quantities are added."""
    number = await purchase_order(warehouse, mug=5)
    body = {"deliveryNote": "note-1", "lines": [{"sku": "mug", "quantity": 2}, {"sku": "mug", "quantity": 3}]}
    response = await warehouse.http.post(f"{ORDERS}/{number}/receive", json=body)
    assert response.json()["status"] == "RECEIVED"
    assert await warehouse.stock("mug") == (5, 0)


async def test_a_purchase_order_must_be_confirmed_before_goods_are_received(warehouse: Warehouse) -> None:
    """409 otherwise. Confirming again changes nothing, even after a receipt."""
    await warehouse.order(mug=5)
    [raised] = await purchase_orders(warehouse)
    response = await receive(warehouse, raised["id"], "note-1", mug=5)
    assert response.status_code == 409
    assert "is RAISED; it must be CONFIRMED" in response.json()["detail"]
    path = f"{ORDERS}/{raised['id']}"
    confirmed = (await warehouse.http.post(f"{path}/confirm")).raise_for_status().json()
    assert (confirmed["status"], confirmed["confirmedAt"] is not None) == ("CONFIRMED", True)
    received = (await receive(warehouse, raised["id"], "note-1", mug=2)).json()
    assert (await warehouse.http.post(f"{path}/confirm")).json() == received
    assert await warehouse.get(path) == received


async def test_goods_for_a_cancelled_order_are_free_stock(warehouse: Warehouse) -> None:
    """The purchase order stays; the next order gets its goods."""
    number = await purchase_order(warehouse, mug=5)
    [order_id] = await warehouse.waiting()
    await warehouse.withdraw(order_id)
    (await receive(warehouse, number, "note-1", mug=5)).raise_for_status()
    assert await warehouse.stock("mug") == (5, 0)
    await warehouse.order(mug=4)
    assert await warehouse.stock("mug") == (5, 4)


async def test_purchase_orders_are_read_page_by_page(warehouse: Warehouse) -> None:
    """Filtered by supplier and status; `Link` has the next page, the last page has none."""
    await supplies(warehouse, mug="potter")
    for _ in range(5):
        await warehouse.order(mug=1)
    await warehouse.order(tray=1)
    ids = [each["id"] for each in await purchase_orders(warehouse, supplier="potter")]
    (await warehouse.http.post(f"{ORDERS}/{ids[0]}/confirm")).raise_for_status()
    seen: list[int] = []
    url: str | None = f"{ORDERS}?supplier=potter&status=RAISED&limit=2"
    while url:
        response = await warehouse.http.get(url)
        seen += [each["id"] for each in response.json()]
        url = response.links.get("next", {}).get("url")
    assert seen == ids[1:]


async def test_suppliers_can_be_read_and_changed(warehouse: Warehouse) -> None:
    """A change applies to later shortages."""
    await supplies(warehouse, mug="potter", tray="joiner")
    await warehouse.order(mug=1)
    await supplies(warehouse, mug="importer")
    await warehouse.order(mug=1)
    assert await warehouse.get("/back-office/supplies") == [
        {"sku": "mug", "supplier": "importer"},
        {"sku": "tray", "supplier": "joiner"},
    ]
    assert [each["supplier"] for each in await purchase_orders(warehouse)] == ["potter", "importer"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/back-office/supplies/mug", {"supplier": "potter"}),
        ("PUT", "/back-office/stock/mug", {"onHand": 1}),
        ("POST", f"{ORDERS}/1/confirm", None),
        ("POST", f"{ORDERS}/1/receive", {"deliveryNote": "1", "lines": [{"sku": "mug", "quantity": 1}]}),
        ("POST", f"/back-office/waiting-orders/{'1' * 20}/retry", None),
    ],
)
async def test_only_an_operator_changes_stock_and_purchases(
    warehouse: Warehouse, method: str, path: str, body: Any
) -> None:
    """401 without a token."""
    response = await warehouse.http.request(method, path, json=body, headers={"authorization": ""})
    assert response.status_code == 401


@pytest.mark.parametrize("path", ["/9", "/9/confirm", "/9/receive"])
async def test_an_unknown_purchase_order_is_404(warehouse: Warehouse, path: str) -> None:
    """Problem details with its id."""
    body = {"deliveryNote": "1", "lines": [{"sku": "mug", "quantity": 1}]}
    method = "GET" if path == "/9" else "POST"
    response = await warehouse.http.request(method, ORDERS + path, json=body)
    assert (response.status_code, response.json()["detail"]) == (404, "there is no purchase order 9")


@pytest.mark.parametrize(
    "body",
    [
        {"deliveryNote": "", "lines": [{"sku": "mug", "quantity": 1}]},
        {"deliveryNote": "1\u0000", "lines": [{"sku": "mug", "quantity": 1}]},
        {"deliveryNote": "1", "lines": []},
        {"deliveryNote": "1", "lines": [{"sku": "mug", "quantity": 0}]},
        {"deliveryNote": "1", "lines": [{"sku": "mug", "quantity": 10**30}]},
        {"deliveryNote": "1", "lines": [{"sku": "mug", "quantity": 1, "price": 2}]},
    ],
)
async def test_an_invalid_receipt_is_rejected(warehouse: Warehouse, body: Any) -> None:
    """422 before the purchase order is read."""
    response = await warehouse.http.post(f"{ORDERS}/9/receive", json=body)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
