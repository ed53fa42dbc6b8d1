"""REST API of the Order service."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from local.order import ORDER as ORDER
from services.order import store
from services.order.order import Order, PlaceOrder
from services.order.order_id import is_id
from tests.serving import Served

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def order(lone_order: Served) -> Served:
    return lone_order


@pytest.fixture(scope="module")
def order_database(lone_order_database: str) -> str:
    return lone_order_database


@pytest.fixture
async def nothing_stored(order_database: str) -> AsyncIterator[None]:
    """Fails the test if it stores an order or publishes an event."""
    before = await _rows(order_database)
    yield
    assert await _rows(order_database) == before


async def _rows(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [
            await connection.fetchval(f"SELECT count(*) FROM {table}") for table in ("orders", "event_log")
        ]
    finally:
        await connection.close()


async def place(order: Served) -> str:
    answer = await order.http.post("/orders", json=ORDER)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_placed_order_can_be_read_at_its_location(order: Served) -> None:
    """Placing answers 201 with the order, where it is, and its version as the ETag."""
    placed = await order.http.post("/orders", json=ORDER)
    assert placed.status_code == 201
    read = await order.http.get(placed.headers["location"])
    assert read.json() == placed.json()
    assert read.headers["etag"] == placed.headers["etag"] == '"1"'
    assert read.json() | ORDER == read.json()
    assert read.json()["status"] == "PLACED"
    assert read.json()["totalPrice"] == 24_000


async def test_an_unchanged_order_is_not_modified(order: Served) -> None:
    """If-None-Match with the current ETag is answered 304, with an older one 200."""
    path = f"/orders/{await place(order)}"
    assert (await order.http.get(path, headers={"if-none-match": '"1"'})).status_code == 304
    await order.http.post(f"{path}/complete")
    assert (await order.http.get(path, headers={"if-none-match": '"1"'})).status_code == 200


async def test_every_command_publishes_an_event_of_the_next_version(order: Served) -> None:
    """The event history has each command's event, with the version after the command."""
    path = f"/orders/{await place(order)}"
    await order.http.put(f"{path}/memo", json={"memo": "ring twice"})
    await order.http.post(f"{path}/complete")
    published = (await order.http.get(f"{path}/events")).json()["published"]
    assert [(event["type"], event["version"]) for event in published] == [
        ("OrderPlaced", 1),
        ("MemoWritten", 2),
        ("OrderCompleted", 3),
    ]


async def test_the_delivery_address_can_be_changed(order: Served) -> None:
    """Before and after payment: the whole address is replaced, and an event is published."""
    path = f"/orders/{await place(order)}"
    address = ORDER["deliveryAddress"] | {"street": "Nambusunhwan-ro 1"}
    for version in (2, 4):
        answer = await order.http.put(f"{path}/delivery-address", json=address | {"city": f"City {version}"})
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"{version}"')
        assert answer.json()["deliveryAddress"] == address | {"city": f"City {version}"}
        await order.http.post(f"{path}/complete")
    published = (await order.http.get(f"{path}/events")).json()["published"]
    assert [event["type"] for event in published[1:]] == [
        "DeliveryAddressChanged",
        "OrderCompleted",
        "DeliveryAddressChanged",
    ]


async def test_a_paid_order_is_cancelling_until_scm_replies(order: Served) -> None:
    """Meanwhile its address cannot be changed; its memo can."""
    path = f"/orders/{await place(order)}"
    await order.http.post(f"{path}/complete")
    assert (await order.http.post(f"{path}/cancel")).json()["status"] == "CANCELLING"
    rejected = await order.http.put(f"{path}/delivery-address", json=ORDER["deliveryAddress"])
    assert rejected.status_code == 409
    assert "it must be PLACED, COMPLETED, BACKORDERED or PREPARING" in rejected.json()["detail"]
    assert (await order.http.put(f"{path}/memo", json={"memo": "why?"})).status_code == 200


async def test_order_ids_are_twenty_digits_and_unique_in_one_microsecond(order: Served) -> None:
    """Orders placed concurrently get different ids; one whose id is taken gets the next."""
    ids = await asyncio.gather(*(place(order) for _ in range(30)))
    assert len(set(ids)) == 30
    assert all(is_id(order_id) for order_id in ids)
    twin = Order.placed("20210717235959999999", PlaceOrder.model_validate(ORDER))
    async with order.database.connection() as connection:
        stored = [(await store.insert(connection, twin)).id for _ in range(3)]
    assert stored == ["20210717235959999999", "20210718000000000000", "20210718000000000001"]


@pytest.mark.parametrize(
    ("commands", "rejected", "status"),
    [
        (["cancel"], "complete", "CANCELLED"),
        (["complete"], "complete", "COMPLETED"),
        (["cancel"], "cancel", "CANCELLED"),
        (["complete", "cancel"], "cancel", "CANCELLING"),
    ],
)
async def test_a_command_that_the_status_does_not_allow_is_a_conflict(
    order: Served, commands: list[str], rejected: str, status: str
) -> None:
    """409 with the status in its detail; nothing changes."""
    path = f"/orders/{await place(order)}"
    for command in commands:
        assert (await order.http.post(f"{path}/{command}")).status_code == 200
    before = (await order.http.get(path)).json()
    answer = await order.http.post(f"{path}/{rejected}")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == PROBLEM
    assert status in answer.json()["detail"]
    assert (await order.http.get(path)).json() == before


@pytest.mark.parametrize("order_id", ["20210717235959000000", "nonsense", "%00", "1" * 21, "\uff12" * 20])
@pytest.mark.parametrize("path", ["", "/events", "/complete"])
async def test_an_unknown_order_is_not_found(order: Served, order_id: str, path: str) -> None:
    """404 for a path that is not the id of an order."""
    method = "POST" if path == "/complete" else "GET"
    answer = await order.http.request(method, f"/orders/{order_id}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid order with one value changed; `path` is the field's name in the problem document."""
    body = copy.deepcopy(ORDER)
    *parents, last = path.split(".")
    at: Any = body
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    return body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("orderLines", []),
        ("orderLines", [ORDER["orderLines"][0]] * 101),
        ("orderLines", "none"),
        ("orderLines.0.quantity", 0),
        ("orderLines.0.quantity", -1),
        ("orderLines.0.quantity", 10_001),
        ("orderLines.0.quantity", "2"),
        ("orderLines.0.quantity", 1.5),
        ("orderLines.0.quantity", True),
        ("orderLines.0.unitPrice", -1),
        ("orderLines.0.sku", "no spaces"),
        ("orderLines.0.discount", 3),
        ("buyer.name", "x" * 101),
        ("buyer.name", "zero\x00byte"),
        ("buyer.name", None),
        ("buyer.nickname", "Ji"),
        ("deliveryAddress.street", ""),
        ("deliveryAddress.postalCode", 6236),
        ("coupon", "SUMMER"),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
async def test_a_malformed_order_is_rejected_with_the_name_of_its_field(
    order: Served, field: str, value: Any
) -> None:
    """422 as problem details that name the field; nothing is stored or published."""
    answer = await order.http.post("/orders", json=changed(field, value))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert field in [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', '{"buyer": "\\ud800"}', "[" * 60_000])
@pytest.mark.usefixtures("nothing_stored")
async def test_a_body_that_is_no_order_is_rejected(order: Served, body: str) -> None:
    """400 or 422 as problem details for arbitrary bytes."""
    answer = await order.http.post("/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.usefixtures("nothing_stored")
async def test_a_body_of_a_megabyte_is_rejected(order: Served, has_length: bool) -> None:
    """413, with or without a Content-Length."""
    body = json.dumps(changed("buyer.name", "x" * 1_000_000)).encode()

    async def chunks() -> Any:
        yield body

    answer = await order.http.post(
        "/orders", content=body if has_length else chunks(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM


async def test_readiness_depends_on_the_database_and_liveness_does_not(
    order: Served, order_database: str
) -> None:
    """With a database that was not migrated the service is live but not ready, with the reason."""
    assert (await order.http.get("/readyz")).json()["checks"]["database"] == "ok"
    admin = await asyncpg.connect(order_database)
    await admin.execute("ALTER TABLE inbox RENAME TO elsewhere")
    try:
        ready = await order.http.get("/readyz")
        assert ready.status_code == 503
        assert "no table inbox" in ready.json()["checks"]["database"]
        assert (await order.http.get("/livez")).status_code == 200
    finally:
        await admin.execute("ALTER TABLE elsewhere RENAME TO inbox")
        await admin.close()


async def test_metrics_count_events_waiting_for_the_relay(order: Served) -> None:
    """/metrics has the outbox's gauges and requests by route."""
    await place(order)
    text = (await order.http.get("/metrics")).text
    assert "outbox_events_waiting" in text
    assert 'route="/orders"' in text
