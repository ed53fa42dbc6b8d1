"""Listing: orders that match a filter, newest first, in pages."""

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
from shared.web import RequestModel, Timestamp, clamp_time

MAX_LIMIT = 200

MAX_BYTES = 512 * 1024
"""Size of the order lines on a page, which ends after the order that exceeds it: an order may have 60 KiB."""

# An id is the time of placing, so the period and the cursor are both bounds on it.
PAGE = """
    WITH matching AS (
        SELECT *
        FROM orders
        WHERE id >= $1 AND id < $2 {conditions}
        ORDER BY id DESC
        LIMIT $3
    ), measured AS (
        SELECT *, count(*) OVER () AS matches,
               sum(octet_length(order_lines::text)) OVER (
                   ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ) AS bytes_before
        FROM matching
    )
    SELECT * FROM measured
    WHERE bytes_before IS NULL OR bytes_before < {max_bytes}
    ORDER BY id DESC
"""

CONDITIONS = {
    "status": "status = ",
    "buyer_name": "buyer ->> 'name' = ",
    "buyer_phone": "buyer ->> 'phoneNumber' = ",
}
"""Written as in the indexes (0003.order-search.sql)."""

_FIRST_ID, _LAST_ID = "0" * 20, "9" * 20


def _decode_cursor(cursor: str) -> str:
    """Return the last id of the page before."""
    with suppress(ValueError):
        if is_id(order_id := base64.urlsafe_b64decode(cursor).decode()):
            return order_id
    raise ValueError("must be taken from the Link header of a page")


def _encode_cursor(order_id: str) -> str:
    return base64.urlsafe_b64encode(order_id.encode()).decode()


Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{27}=$"), AfterValidator(_decode_cursor)]


class OrderFilter(RequestModel):
    """Query parameters of the order list: conditions, all optional, and the page."""

    status: Status | None = None
    buyer_name: Annotated[Name | None, Field(description="the whole name")] = None
    buyer_phone: Annotated[Phone | None, Field(description="exactly as in the order")] = None
    placed_from: Timestamp | None = None
    placed_to: Annotated[Timestamp | None, Field(description="exclusive")] = None
    cursor: Annotated[Cursor | None, Field(description="from the Link header of the page before")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50

    @model_validator(mode="after")
    def _validate_period(self) -> "OrderFilter":
        if self.placed_from and self.placed_to and self.placed_from >= self.placed_to:
            raise ValueError("placedFrom must be before placedTo")
        return self


@dataclass(frozen=True)
class OrderPage:
    """Orders, newest first, and the cursor of the next page, None on the last one."""

    orders: list[Order]
    next_cursor: str | None


async def find_page(connection: Connection, order_filter: OrderFilter) -> OrderPage:
    """Return a page of matching orders. Orders placed in the meantime do not shift later pages."""
    first = id_at(clamp_time(order_filter.placed_from)) if order_filter.placed_from else _FIRST_ID
    end = id_at(clamp_time(order_filter.placed_to)) if order_filter.placed_to else _LAST_ID
    if order_filter.cursor:
        end = min(end, order_filter.cursor)
    limit = order_filter.limit
    values = {name: value for name in CONDITIONS if (value := getattr(order_filter, name)) is not None}
    rows = await connection.fetch(statement(values), first, end, limit + 1, *values.values())
    orders = [store.to_order(row) for row in rows[:limit]]
    has_more = bool(rows) and rows[0]["matches"] > len(orders)
    return OrderPage(orders, _encode_cursor(orders[-1].id) if has_more else None)


def statement(names: Iterable[str]) -> str:
    """Return PAGE with the named conditions, with their values from $4 on. Unused conditions are left out,
    because PostgreSQL would not use an index for them."""
    conditions = (f"AND {CONDITIONS[name]}${number}" for number, name in enumerate(names, start=4))
    return PAGE.format(conditions=" ".join(conditions), max_bytes=MAX_BYTES)
