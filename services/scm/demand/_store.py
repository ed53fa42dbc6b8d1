"""Store of demand: one row per article and day."""

from collections.abc import Sequence
from datetime import date

from snsqs import WireModel
from snsqs.postgres import Connection

# Sorted, so that two orders for the same articles cannot deadlock.
ADD = """
    INSERT INTO demand (day, sku, units)
    SELECT $1, line.sku, sum(line.quantity)
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
    GROUP BY line.sku
    ORDER BY line.sku
    ON CONFLICT (day, sku) DO UPDATE SET units = demand.units + excluded.units
"""

DAILY = """
    SELECT day, sku, units
    FROM demand
    WHERE (day, sku) > ($1, $2) AND day <= $3 AND ($4::text IS NULL OR sku = $4)
    ORDER BY day, sku
    LIMIT $5
"""

TOTALS = """
    SELECT sku, sum(units)::bigint AS units
    FROM demand
    WHERE sku > $1
    GROUP BY sku
    ORDER BY sku
    LIMIT $2
"""


class DailyDemand(WireModel):
    """Units of an article ordered on one day (UTC)."""

    day: date
    sku: str
    units: int


class TotalDemand(WireModel):
    """Units of an article ordered on all days."""

    sku: str
    units: int


async def add(connection: Connection, day: date, skus: Sequence[str], quantities: Sequence[int]) -> None:
    """Add the lines of an order to the day. A SKU may occur on several lines."""
    await connection.execute(ADD, day, skus, quantities)


async def daily_demand(
    connection: Connection, after: tuple[date, str], last: date, sku: str | None, limit: int
) -> list[DailyDemand]:
    """Return up to `limit` rows by day and SKU: those after `after`, up to and including the last day, of one
    SKU or of all."""
    rows = await connection.fetch(DAILY, *after, last, sku, limit)
    return [DailyDemand(**dict(row)) for row in rows]


async def totals(connection: Connection, after: str, limit: int) -> list[TotalDemand]:
    """Return up to `limit` totals of the SKUs greater than `after`, by SKU."""
    return [TotalDemand(**dict(row)) for row in await connection.fetch(TOTALS, after, limit)]
