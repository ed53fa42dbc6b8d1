"""Listing of orders: filters, and pages that are stable while orders are placed."""

import copy
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.order import listing
from tests.order.test_api import ORDER, PROBLEM
from tests.serving import Served

SEED = """
    INSERT INTO orders (id, version, status, buyer, delivery_address, order_lines, total_price, placed_at)
    SELECT to_char(at, 'YYYYMMDDHH24MISSUS'), 1, (ARRAY['PLACED', 'COMPLETED', 'DELIVERED'])[1 + n % 3],
           jsonb_build_object('name', 'Buyer ' || n % 5, 'phoneNumber', '010-' || n % 5),
           '{}', '[]', 0, at
    FROM generate_series(1, 20000) AS n,
         LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '1 s') AS placed (at)
"""


async def place(order: Served, *, name: str = "Kim", phone: str = "010-1234-5678") -> dict[str, Any]:
    body = copy.deepcopy(ORDER) | {"buyer": {"name": name, "phoneNumber": phone}}
    placed: dict[str, Any] = (await order.http.post("/orders", json=body)).json()
    return placed


async def ids(order: Served, **params: Any) -> list[str]:
    """Ids on the first page."""
    answer = await order.http.get("/orders", params=params)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()]


async def test_pages_are_stable_while_orders_are_placed(lone_order: Served) -> None:
    """Newest first. An order placed after the first page was read does not shift the others."""
    placed = [await place(lone_order, name="Pages") for _ in range(7)]
    answer = await lone_order.http.get("/orders", params={"limit": 3, "buyerName": "Pages"})
    pages = [answer.json()]
    while "next" in answer.links:
        await place(lone_order, name="Pages")
        answer = await lone_order.http.get(answer.links["next"]["url"])
        pages.append(answer.json())
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [order for page in pages for order in page] == placed[::-1]


async def test_a_full_last_page_has_no_link(lone_order: Served) -> None:
    """Links never lead to an empty page."""
    for _ in range(2):
        await place(lone_order, name="Full")
    answer = await lone_order.http.get("/orders", params={"limit": 2, "buyerName": "Full"})
    assert len(answer.json()) == 2
    assert "link" not in answer.headers


async def test_orders_are_found_by_buyer_status_and_time(lone_order: Served) -> None:
    """Each filter alone, and combined; the end of the period is exclusive."""
    first, second, third = [
        await place(lone_order, name=name, phone=phone)
        for name, phone in [("Lee", "010-11111"), ("Lee", "010-22222"), ("Park", "010-22222")]
    ]
    await lone_order.http.post(f"/orders/{second['id']}/complete")
    start = {"placedFrom": first["placedAt"]}
    assert await ids(lone_order, **start) == [third["id"], second["id"], first["id"]]
    assert await ids(lone_order, buyerName="Lee") == [second["id"], first["id"]]
    assert await ids(lone_order, buyerPhone="010-22222") == [third["id"], second["id"]]
    assert await ids(lone_order, buyerPhone="010-22222", buyerName="Lee") == [second["id"]]
    assert await ids(lone_order, **start, status="COMPLETED") == [second["id"]]
    assert await ids(lone_order, **start, placedTo=third["placedAt"]) == [second["id"], first["id"]]
    assert await ids(lone_order, **start, status="COMPLETED", buyerName="Park") == []
    in_seoul = datetime.fromisoformat(third["placedAt"]) + timedelta(hours=9)
    assert await ids(lone_order, placedFrom=in_seoul.isoformat().replace("+00:00", "+09:00")) == [third["id"]]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("1900-01-01T00:00:00Z", "1960-01-01T00:00:00Z"),
        ("9100-01-01T00:00:00Z", "9200-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+10:00", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-10:00"),
    ],
)
async def test_a_period_without_orders_is_empty(lone_order: Served, start: str, end: str) -> None:
    """Also outside the range that can be stored."""
    assert await ids(lone_order, placedFrom=start, placedTo=end) == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"status": "LOST"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "bm9uc2Vuc2UsIGJ1dCB0d2VudHk="}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"buyer_name": "Kim"}, "buyer_name"),
        ({"placedFrom": "yesterday"}, "placedFrom"),
        ({"placedFrom": "2026-01-01T00:00:00"}, "placedFrom"),
        ({"placedFrom": "2026-01-02T00:00:00Z", "placedTo": "2026-01-02T00:00:00Z"}, "placedFrom"),
        ({"buyerName": "zero\x00byte"}, "buyerName"),
        ({"buyerPhone": "call me"}, "buyerPhone"),
        ({"buyer": "Kim"}, "buyer"),
    ],
)
async def test_an_invalid_filter_is_rejected_with_its_name(
    lone_order: Served, params: dict[str, Any], field: str
) -> None:
    """422 as problem details, also for an unknown filter, which must not be ignored."""
    answer = await lone_order.http.get("/orders", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("names", [(), ("status",), ("buyer_name",), ("buyer_phone",)])
async def test_a_page_is_read_from_an_index(lone_order_database: str, names: tuple[str, ...]) -> None:
    """Every filter has an index in the order of the page: nothing is sorted or filtered out of all orders."""
    connection = await asyncpg.connect(lone_order_database)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM orders WHERE id < '2020010200')"):
            await connection.execute(SEED)
            await connection.execute("ANALYZE orders")
        values = {"status": "PLACED", "buyer_name": "Buyer 3", "buyer_phone": "010-3"}
        statement = listing.statement(names)
        plan = await connection.fetch(
            f"EXPLAIN {statement}", "0" * 20, "9" * 20, 51, *(values[name] for name in names)
        )
    finally:
        await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "Index Scan Backward" in text
    assert "Sort" not in text
    assert "Seq Scan" not in text
