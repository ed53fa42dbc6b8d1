"""Demand through SCM's entry points: units per article and day, independent of fulfilment."""

from typing import Any

import pytest
from snsqs import Message

from tests.order.test_api import PROBLEM
from tests.scm.supply_chain import ADDRESS, NOON, Scm, cancelled, completed
from tests.serving import eventually

QUEUE = "scm-demand-order-event-queue"
HALF_A_DAY = 12 * 60 * 60 * 1000


async def count(scm: Scm, *messages: Message[str]) -> None:
    """Send the messages and wait until demand has handled all of them."""
    await scm.send(*messages)
    for message in messages:
        await scm.wait_until_handled(message, QUEUE)


async def demand(scm: Scm, **params: str) -> list[tuple[str, str, int]]:
    found = await scm.get("/back-office/demand", **params)
    return [(each["day"], each["sku"], each["units"]) for each in found]


async def test_units_are_counted_by_article_and_day(scm_alone: Scm) -> None:
    """All lines of all orders, including short ones; the day of payment is in UTC."""
    await count(
        scm_alone,
        completed(scm_alone.new_order(ADDRESS), jug=2, tub=7),
        completed(scm_alone.new_order(ADDRESS), at=NOON + HALF_A_DAY - 1, jug=3),
        completed(scm_alone.new_order(ADDRESS), at=NOON + HALF_A_DAY, jug=5),
    )
    assert await demand(scm_alone, sku="jug") == [("2021-07-17", "jug", 5), ("2021-07-18", "jug", 5)]
    assert await demand(scm_alone, sku="tub") == [("2021-07-17", "tub", 7)]


async def test_an_article_on_two_lines_is_counted_twice(scm_alone: Scm) -> None:
    """A SKU may occur on several lines of an order."""
    message = completed(scm_alone.new_order(ADDRESS), urn=2)
    line = '{"sku": "urn", "quantity": 2}'
    await count(scm_alone, message.copy(payload=message.payload.replace(line, f"{line}, {line}")))
    assert await demand(scm_alone, sku="urn") == [("2021-07-17", "urn", 4)]


async def test_an_order_is_counted_once_for_any_number_of_deliveries(scm_alone: Scm) -> None:
    """G3: the same message again, and another message with the same version."""
    order_id = scm_alone.new_order(ADDRESS)
    first, again = completed(order_id, vat=3), completed(order_id, vat=3)
    await count(scm_alone, first, first, again)
    assert await demand(scm_alone, sku="vat") == [("2021-07-17", "vat", 3)]


async def test_a_cancelled_order_still_counts(scm_alone: Scm) -> None:
    """Demand does not subscribe to cancellations."""
    order_id = scm_alone.new_order(ADDRESS)
    await count(scm_alone, completed(order_id, keg=1))
    await scm_alone.deliver(cancelled(order_id, keg=1))
    assert await demand(scm_alone, sku="keg") == [("2021-07-17", "keg", 1)]


async def test_a_period_is_read_in_pages(scm_alone: Scm) -> None:
    """`from` and `to` are inclusive. A page may end in the middle of a day."""
    day = 24 * 60 * 60 * 1000
    at = NOON + 1_000 * day  # 2024-04-12
    await count(
        scm_alone, *(completed(scm_alone.new_order(ADDRESS), at=at + n * day, a=1, b=2) for n in range(4))
    )
    period = {"from": "2024-04-13", "to": "2024-04-14"}
    assert await demand(scm_alone, **period) == [
        ("2024-04-13", "a", 1),
        ("2024-04-13", "b", 2),
        ("2024-04-14", "a", 1),
        ("2024-04-14", "b", 2),
    ]
    url, pages = "/back-office/demand", list[Any]()
    params: dict[str, str] | None = {**period, "limit": "3"}
    while url:
        response = await scm_alone.served.http.get(url, params=params)
        pages.append([(each["day"], each["sku"]) for each in response.json()])
        url, params = response.links.get("next", {}).get("url", ""), None
    assert pages == [
        [("2024-04-13", "a"), ("2024-04-13", "b"), ("2024-04-14", "a")],
        [("2024-04-14", "b")],
    ]


@pytest.mark.parametrize("query", ["from=17", "to=2021-02-30", "sku=%00", "after=%00", "limit=0"])
async def test_an_invalid_query_is_rejected(scm_alone: Scm, query: str) -> None:
    """422 as problem details."""
    response = await scm_alone.served.http.get(f"/back-office/demand?{query}")
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)


async def test_orders_are_fulfilled_while_demand_waits(scm_alone: Scm) -> None:
    """Its table is locked; the units are counted once it is unlocked."""
    async with scm_alone.database.transaction() as tx:
        await tx.connection.execute("LOCK TABLE demand IN ACCESS EXCLUSIVE MODE")
        await scm_alone.invoiced_order(tin=1)
    await eventually(lambda: is_demanded(scm_alone, "tin"))


async def test_orders_are_fulfilled_while_demand_fails(scm_alone: Scm) -> None:
    """Its table is missing; the message is redelivered until it is back."""
    async with scm_alone.database.connection() as connection:
        await connection.execute("ALTER TABLE demand RENAME TO misplaced")
        await scm_alone.invoiced_order(bin=1)
        await eventually(lambda: has_failed(scm_alone))
        await connection.execute("ALTER TABLE misplaced RENAME TO demand")
    await eventually(lambda: is_demanded(scm_alone, "bin"))


async def is_demanded(scm: Scm, sku: str) -> bool:
    """One unit of the article is counted."""
    return await demand(scm, sku=sku) == [("2021-07-17", sku, 1)]


async def has_failed(scm: Scm) -> bool:
    """Demand's handler has failed at least once."""
    metrics = (await scm.served.http.get("/metrics")).text
    return f'messages_settled_total{{outcome="failed",queue="{QUEUE}"}}' in metrics
