"""Listing: the orders that a filter finds, newest first, page by page."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from snsqs.postgres import Connection

from services.order import store
from services.order.order import Name, Order, Phone, Status
from services.order.order_id import id_at, is_id
from shared.web import Timestamp
from shared.web.moment import storable
from shared.web.request import RequestModel

LIMIT_MOST = 200

# An id is the time of placing, so the period and the cursor are both bounds of it.
PAGE = """
    SELECT id, version, status, buyer, delivery_address, order_lines, total_price, memo, invoice_id,
           placed_at, completed_at
    FROM orders
    WHERE id >= $1 AND id < $2 {conditions}
    ORDER BY id DESC
    LIMIT $3
"""

CONDITIONS = {
    "status": "status = ",
    "buyer_name": "buyer ->> 'name' = ",
    "buyer_phone": "buyer ->> 'phoneNumber' = ",
}
"""Spelled as in the indices (0003.order-search.sql)."""

_FIRST_ID, _LAST_ID = "0" * 20, "9" * 20


def _position(cursor: str) -> str:
    """The id that the page before ended with."""
    with suppress(ValueError):
        if is_id(order_id := base64.urlsafe_b64decode(cursor).decode()):
            return order_id
    raise ValueError("must be taken from the Link header of a page")


def _cursor(order_id: str) -> str:
    return base64.urlsafe_b64encode(order_id.encode()).decode()


Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{27}=$"), AfterValidator(_position)]


class Filter(RequestModel):
    """Which orders, and which page of them. What is left out excludes nothing."""

    status: Status | None = None
    buyer_name: Annotated[Name | None, Field(description="the whole name")] = None
    buyer_phone: Annotated[Phone | None, Field(description="as the order has it")] = None
    placed_from: Timestamp | None = None
    placed_to: Annotated[Timestamp | None, Field(description="exclusive")] = None
    cursor: Annotated[Cursor | None, Field(description="from the Link header of the page before")] = None
    limit: Annotated[int, Field(ge=1, le=LIMIT_MOST)] = 50

    @model_validator(mode="after")
    def _period(self) -> "Filter":
        if self.placed_from and self.placed_to and self.placed_from >= self.placed_to:
            raise ValueError("placedFrom must be before placedTo")
        return self


@dataclass(frozen=True)
class Page:
    """Orders, newest first, and the cursor of the page after them, if there is one."""

    orders: list[Order]
    next: str | None


async def page(connection: Connection, wanted: Filter) -> Page:
    """A stable page: what is placed meanwhile is before the first page, and moves no other."""
    first = id_at(storable(wanted.placed_from)) if wanted.placed_from else _FIRST_ID
    end = id_at(storable(wanted.placed_to)) if wanted.placed_to else _LAST_ID
    if wanted.cursor:
        end = min(end, wanted.cursor)
    asked = {name: value for name in CONDITIONS if (value := getattr(wanted, name)) is not None}
    rows = await connection.fetch(statement(asked), first, end, wanted.limit + 1, *asked.values())
    orders = [store.order(row) for row in rows[: wanted.limit]]
    return Page(orders, _cursor(orders[-1].id) if len(rows) > wanted.limit else None)


def statement(asked: Iterable[str]) -> str:
    """PAGE with the conditions that are asked for, and only those: a statement that allowed for the others
    would be planned without an index."""
    conditions = (f"AND {CONDITIONS[name]}${number}" for number, name in enumerate(asked, start=4))
    return PAGE.format(conditions=" ".join(conditions))
