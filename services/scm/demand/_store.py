"""Where demand is counted: a row per article and day."""

from collections.abc import Sequence
from datetime import date

from snsqs import WireModel
from snsqs.postgres import Connection

# Sorted, so that two orders for the same articles never wait for each other's rows.
ADD = """
    INSERT INTO demand (day, sku, units)
    SELECT $1, line.sku, sum(line.quantity)
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
    GROUP BY line.sku
    ORDER BY line.sku
    ON CONFLICT (day, sku) DO UPDATE SET units = demand.units + excluded.units
"""

BETWEEN = """
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
    """Units of an article that were ordered on one day (UTC)."""

    day: date
    sku: str
    units: int


class Total(WireModel):
    """Units of an article that were ever ordered."""

    sku: str
    units: int


async def add(connection: Connection, day: date, skus: Sequence[str], quantities: Sequence[int]) -> None:
    """Counts the lines of an order, which may name an article more than once."""
    await connection.execute(ADD, day, skus, quantities)


async def between(
    connection: Connection, after: tuple[date, str], last: date, sku: str | None, limit: int
) -> list[DailyDemand]:
    """Day by day, article by article, from the first that follows `after` to the end of the last day."""
    rows = await connection.fetch(BETWEEN, *after, last, sku, limit)
    return [DailyDemand(**dict(row)) for row in rows]


async def totals(connection: Connection, after: str, limit: int) -> list[Total]:
    """Article by article, from the first that follows `after`."""
    return [Total(**dict(row)) for row in await connection.fetch(TOTALS, after, limit)]
