"""Waiting: the orders that goods are missing for, first come, first served.

An order that waits claims what it wants of each article, before everybody who came later: a newcomer gets
only what is left beyond the claims, so that no small order ever overtakes a large one on its article.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from snsqs.postgres import Connection

from services.scm.events import Line
from services.scm.inventory._stock import columns

log = structlog.get_logger(__name__)

LAST = 2**63 - 1
"""The position of an order that does not wait: everybody who does has come before it."""

BEGIN = """
    WITH begun AS (
        INSERT INTO waiting_order (order_id) VALUES ($1) RETURNING order_id, position
    )
    INSERT INTO waiting_line (order_id, position, sku, quantity)
    SELECT order_id, position, line.sku, line.quantity
    FROM begun, unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
"""

END = "DELETE FROM waiting_order WHERE order_id = $1"

FIND = """
    SELECT waiting_order.position,
           array_agg(sku ORDER BY sku) AS skus, array_agg(quantity ORDER BY sku) AS quantities
    FROM waiting_order JOIN waiting_line USING (order_id)
    WHERE order_id = $1 AND parked_at IS NULL AND next_attempt_at <= now()
    GROUP BY waiting_order.order_id
"""

FREE = """
    SELECT sku, on_hand - reserved - coalesce(claimed, 0)::bigint AS free
    FROM stock LEFT JOIN (
        SELECT sku, sum(quantity) AS claimed
        FROM waiting_line
        WHERE sku = ANY ($1) AND position < $2
        GROUP BY sku
    ) AS claim USING (sku)
    WHERE sku = ANY ($1)
"""

# Each order claims a piece at least, so of an article that there are n of, only the n oldest claims are read.
# With the claims of the older ones taken off, each of these orders can be served whether or not the others
# are. So one that fails holds up nobody; those that were never tried are due since -infinity, and come first.
SERVABLE = """
    SELECT waiting_order.order_id
    FROM stock
    CROSS JOIN LATERAL (
        SELECT order_id, sum(quantity) OVER (ORDER BY position) AS claimed
        FROM (
            SELECT order_id, position, quantity
            FROM waiting_line
            WHERE waiting_line.sku = stock.sku AND position IS NOT NULL
            ORDER BY position
            LIMIT on_hand - reserved
        ) AS oldest
    ) AS claim
    JOIN waiting_order USING (order_id)
    WHERE on_hand > reserved AND claimed <= on_hand - reserved AND next_attempt_at <= now()
        AND stock.sku IN (SELECT sku FROM waiting_line WHERE position IS NOT NULL)
    GROUP BY waiting_order.order_id
    HAVING count(*) = (
        SELECT count(*) FROM waiting_line WHERE waiting_line.order_id = waiting_order.order_id
    )
    ORDER BY next_attempt_at, position
    LIMIT $1
"""

# Full jitter: a wait drawn from the whole span of 2 s · 2^attempts, at most 60 s.
FAILED = """
    UPDATE waiting_order
    SET attempts = attempts + 1, last_error = $2,
        parked_at = CASE WHEN attempts + 1 >= $3 THEN clock_timestamp() END,
        next_attempt_at = clock_timestamp()
            + random() * least(60, 2 * 2 ^ least(attempts, 10)) * interval '1 second'
    WHERE order_id = $1
    RETURNING attempts, parked_at
"""

POSTPONED = """
    UPDATE waiting_order
    SET last_error = $2, next_attempt_at = clock_timestamp() + random() * $3::float8 * interval '1 second'
    WHERE order_id = $1
"""

GIVE_UP = "UPDATE waiting_line SET position = NULL WHERE order_id = $1"

CLAIM_AGAIN = """
    UPDATE waiting_line
    SET position = waiting_order.position
    FROM waiting_order
    WHERE waiting_order.order_id = waiting_line.order_id AND waiting_line.order_id = $1
"""

RESUME = """
    UPDATE waiting_order
    SET parked_at = NULL, attempts = 0, last_error = NULL, next_attempt_at = '-infinity'
    WHERE order_id = $1
    RETURNING order_id
"""

TROUBLE = """
    SELECT order_id, last_error
    FROM waiting_order
    WHERE last_error IS NOT NULL
    ORDER BY position
    LIMIT 1
"""


@dataclass(frozen=True)
class Waiting:
    """An order that waits, and its place in the queue."""

    position: int
    lines: tuple[Line, ...]


async def begin(connection: Connection, order_id: str, lines: Sequence[Line]) -> None:
    """The order waits from now on, as the last one. Its articles are locked, so that whoever waits for the
    same ones has come before or comes after."""
    await connection.execute(BEGIN, order_id, *columns(lines))


async def end(connection: Connection, order_id: str) -> None:
    """The order waits no more, if it did."""
    await connection.execute(END, order_id)


async def find(connection: Connection, order_id: str) -> Waiting | None:
    """The order, unless it does not wait or is not to be tried just now."""
    row = await connection.fetchrow(FIND, order_id)
    if row is None:
        return None
    return Waiting(row["position"], tuple(map(Line, row["skus"], row["quantities"])))


async def free(connection: Connection, skus: Sequence[str], position: int) -> dict[str, int]:
    """What is left of each article for an order at this position. Less than nothing where the claims of those
    before it are more than what there is."""
    return {row["sku"]: row["free"] for row in await connection.fetch(FREE, skus, position)}


async def servable(connection: Connection, most: int) -> list[str]:
    """The orders that there are goods for now, oldest first."""
    return [row["order_id"] for row in await connection.fetch(SERVABLE, most)]


async def record_failed(connection: Connection, order_id: str, error: Exception, *, most: int) -> bool:
    """Counts the attempt. The order is tried again later, later each time, and parked after so many: then it
    is not tried again by itself, and claims nothing. True when it was parked now."""
    reason = f"{type(error).__name__}: {error}"
    row = await connection.fetchrow(FAILED, order_id, reason, most)
    is_parked = row is not None and row["parked_at"] is not None
    if is_parked:
        await connection.execute(GIVE_UP, order_id)
        log.error("waiting order parked", order_id=order_id, exc_info=error)
    else:
        log.warning("waiting order not served", order_id=order_id, exc_info=error)
    return is_parked


async def postpone(connection: Connection, order_id: str, error: Exception, *, most: float) -> None:
    """Something else is away: the order is tried again in at most so many seconds, and nothing is counted."""
    await connection.execute(POSTPONED, order_id, str(error), most)
    log.warning("waiting order not served yet", order_id=order_id, error=str(error))


async def resume(connection: Connection, order_id: str) -> bool:
    """Lets an order be tried again at once, parked or not, at the place that it had. False when it does not
    wait."""
    if await connection.fetchval(RESUME, order_id) is None:
        return False
    await connection.execute(CLAIM_AGAIN, order_id)
    return True


async def degraded_reason(connection: Connection) -> str | None:
    """Of the orders that could not be served though there were goods for them, the oldest, and why."""
    row = await connection.fetchrow(TROUBLE)
    return None if row is None else f"order {row['order_id']}: {row['last_error']}"
