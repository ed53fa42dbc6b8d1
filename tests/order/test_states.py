"""State transitions of an order: every command and every reply of SCM in every state."""

from collections.abc import Callable
from itertools import product

import pytest

from services.order.order import NotAllowed, Order, PlaceOrder, Status
from services.order.replies import ORDER_STATUS
from tests.order.test_api import ORDER

ADDRESS = PlaceOrder.model_validate(ORDER).delivery_address.model_copy(update={"street": "Nambusunhwan-ro 1"})

COMMANDS: dict[str, Callable[[Order], Order]] = {
    "complete": lambda order: order.completed(),
    "cancel": lambda order: order.cancelled(),
    "address": lambda order: order.readdressed(ADDRESS),
    "memo": lambda order: order.with_memo("ring twice"),
}

NEXT = """
                 complete   cancel      address      memo
    PLACED       COMPLETED  CANCELLED   PLACED       PLACED
    COMPLETED    -          CANCELLING  COMPLETED    COMPLETED
    BACKORDERED  -          CANCELLING  BACKORDERED  BACKORDERED
    PREPARING    -          CANCELLING  PREPARING    PREPARING
    SHIPPED      -          -           -            SHIPPED
    DELIVERED    -          -           -            DELIVERED
    CANCELLING   -          -           -            CANCELLING
    CANCELLED    -          -           -            -

                 SHORT        RESERVED    INVOICED    DISPATCHED  DELIVERED  CANCELLED
    PLACED       -            -           -           -           -          -
    COMPLETED    BACKORDERED  PREPARING   PREPARING   SHIPPED     DELIVERED  CANCELLED
    BACKORDERED  BACKORDERED  PREPARING   PREPARING   SHIPPED     DELIVERED  CANCELLED
    PREPARING    BACKORDERED  PREPARING   PREPARING   SHIPPED     DELIVERED  CANCELLED
    SHIPPED      -            -           -           SHIPPED     DELIVERED  -
    DELIVERED    -            -           -           -           DELIVERED  -
    CANCELLING   CANCELLING   CANCELLING  CANCELLING  SHIPPED     DELIVERED  CANCELLED
    CANCELLED    -            -           -           -           -          CANCELLED
"""
"""Next status of an order in the status of the row; `-` is rejected."""


def table(text: str) -> dict[tuple[Status, str], str]:
    header, *rows = (line.split() for line in text.strip().splitlines())
    return {
        (Status(state), name): then for state, *row in rows for name, then in zip(header, row, strict=True)
    }


AFTER_COMMAND, AFTER_REPLY = map(table, NEXT.split("\n\n"))


def order_in(status: Status) -> Order:
    placed = Order.placed("20210717235959000000", PlaceOrder.model_validate(ORDER))
    if status is Status.PLACED:
        return placed
    return placed.completed().model_copy(update={"status": status})


@pytest.mark.parametrize(("status", "command"), [*product(Status, COMMANDS)])
def test_a_command_is_rejected_or_makes_the_next_version(status: Status, command: str) -> None:
    """Every command in every state. A rejection names the order's status."""
    before, then = order_in(status), AFTER_COMMAND[status, command]
    if then == "-":
        with pytest.raises(NotAllowed, match=f" is {status}; "):
            COMMANDS[command](before)
    else:
        after = COMMANDS[command](before)
        assert (after.status, after.version) == (then, before.version + 1)


@pytest.mark.parametrize(("status", "reply"), [*product(Status, ORDER_STATUS)])
def test_a_reply_of_scm_is_rejected_or_decides_the_status(status: Status, reply: str) -> None:
    """Every status of the fulfilment in every state. Applied again, it makes no new version."""
    before, then = order_in(status), AFTER_REPLY[status, reply]
    if then == "-":
        with pytest.raises(NotAllowed, match=f" is {status}; "):
            before.apply_fulfilment(ORDER_STATUS[reply], "an-invoice")
    else:
        after = before.apply_fulfilment(ORDER_STATUS[reply], None)
        assert (after.status, after.version) == (then, before.version + (then != status))
        assert after.apply_fulfilment(ORDER_STATUS[reply], None) is after


def test_an_invoice_is_recorded_while_the_order_is_cancelling() -> None:
    """An invoice issued before SCM received the cancellation makes a new version in the same state."""
    before = order_in(Status.CANCELLING)
    after = before.apply_fulfilment(Status.PREPARING, "an-invoice")
    assert (after.status, after.invoice_id) == (Status.CANCELLING, "an-invoice")
    assert after.version == before.version + 1
