"""SCM reserves and buys nothing for an order that the Order service does not have like this."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from snsqs import AwsClients, aws_clients

from tests.conftest import REGION
from tests.console.letters import dead_letter_reason
from tests.scm.supply_chain import ADDRESS, QUEUE, Scm, completed
from tests.serving import eventually


@pytest.fixture
async def aws(scm_alone: Scm, aws_server: str) -> AsyncIterator[AwsClients]:
    """The account of `scm_alone`, without dead letters."""
    async with aws_clients(region=REGION, endpoint_url=aws_server) as clients:
        url = (await clients.sqs.get_queue_url(QueueName=f"{QUEUE}-dlq"))["QueueUrl"]
        await clients.sqs.purge_queue(QueueUrl=url)
        yield clients


async def purchase_orders(scm: Scm, order_id: str) -> list[Any]:
    found = await scm.get("/partner-office/purchase-orders", limit="1000")
    return [each for each in found if each["orderId"] == order_id]


async def assert_rejected(scm: Scm, aws: AwsClients, order_id: str, reason: str, **lines: int) -> None:
    """The message is a dead letter with the reason, and has left no trace."""
    await scm.send(completed(order_id, **lines))
    assert await dead_letter_reason(aws, QUEUE) == reason
    assert (await scm.served.http.get(f"/orders/{order_id}")).status_code == 404
    assert await purchase_orders(scm, order_id) == []
    async with scm.database.connection() as connection:
        waiting = "SELECT count(*) FROM waiting_order WHERE order_id = $1"
        assert await connection.fetchval(waiting, order_id) == 0


async def test_nothing_is_bought_for_an_unknown_order(scm_alone: Scm, aws: AwsClients) -> None:
    """The message is final: the Order service answers 404."""
    order_id = "7" * 20
    reason = f"UnknownOrder: the order service has no order {order_id}"
    await assert_rejected(scm_alone, aws, order_id, reason, unobtainium=1_000_000_000)


@pytest.mark.parametrize("on_hand", [0, 10], ids=["short", "in stock"])
async def test_an_unpaid_order_gets_nothing(scm_alone: Scm, aws: AwsClients, on_hand: int) -> None:
    """Neither bought nor reserved."""
    order_id = scm_alone.new_order(ADDRESS)
    scm_alone.orders.unpaid.add(order_id)
    await scm_alone.stock(vase=on_hand)
    await assert_rejected(scm_alone, aws, order_id, f"OrderMismatch: order {order_id} is not paid", vase=2)


@pytest.mark.parametrize("lines", [{"jar": 2_000}, {"jar": 2, "jug": 1}, {"jug": 2}], ids=str)
async def test_an_order_with_other_lines_gets_nothing(
    scm_alone: Scm, aws: AwsClients, lines: dict[str, int]
) -> None:
    """More pieces, one more article, another article."""
    order_id = scm_alone.new_order(ADDRESS)
    scm_alone.orders.lines[order_id] = [{"sku": "jar", "quantity": 1}] * 2
    reason = f"OrderMismatch: order {order_id} has other lines at the order service"
    await assert_rejected(scm_alone, aws, order_id, reason, **lines)


async def test_a_short_order_waits_for_the_order_service(scm_alone: Scm) -> None:
    """Nothing is bought while it is unavailable. Afterwards the same delivery of the message succeeds."""
    order_id = scm_alone.new_order(ADDRESS)
    message = completed(order_id, bowl=3)
    scm_alone.orders.is_unavailable = True
    try:
        await scm_alone.send(message)

        async def is_asked() -> bool:
            return order_id in scm_alone.orders.requests

        await eventually(is_asked)
        assert await purchase_orders(scm_alone, order_id) == []
    finally:
        scm_alone.orders.is_unavailable = False
    record = await scm_alone.wait_until_handled(message)
    assert record["receiveCount"] == 1
    [bought] = await purchase_orders(scm_alone, order_id)
    assert [(line["sku"], line["quantity"]) for line in bought["lines"]] == [("bowl", 3)]
