"""Waiting orders: a queue of the orders whose goods are missing, served first come, first served.

A waiting order claims its quantity of each article before all later orders: those get only what is left
beyond the claims, so a small order never overtakes a large one for the same article.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from snsqs.background import error_reason
from snsqs.postgres import Connection

from services.scm.events import Line
from services.scm.inventory._stock import columns

log = structlog.get_logger(__name__)

LAST = 2**63 - 1
"""Position of an order that is not in the queue: after all that are."""

INSERT = """
    WITH begun AS (
        INSERT INTO waiting_order (order_id) VALUES ($1) RETURNING order_id, position
    )
    INSERT INTO waiting_line (order_id, position, sku, quantity)
    SELECT order_id, position, line.sku, line.quantity
    FROM begun, unnest($2::text[], $3::bigint[]) AS line (sku, quantity)
"""

DELETE = "DELETE FROM waiting_order WHERE order_id = $1"

FIND_DUE = """
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

# Each order claims at least one piece, so of an article with n pieces only the n oldest claims are read.
# Claims of older orders are subtracted, so each order found can be served independently of the others, and
# one that fails delays no other. Orders that were never tried are due since -infinity, and come first.
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

# Exponential backoff with full jitter: base 2 s, cap 60 s.
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

DROP_CLAIM = "UPDATE waiting_line SET position = NULL WHERE order_id = $1"

RESTORE_CLAIM = """
    UPDATE waiting_line
    SET position = waiting_order.position
    FROM waiting_order
    WHERE waiting_order.order_id = waiting_line.order_id AND waiting_line.order_id = $1
"""

RESET = """
    UPDATE waiting_order
    SET parked_at = NULL, attempts = 0, last_error = NULL, next_attempt_at = '-infinity'
    WHERE order_id = $1
    RETURNING order_id
"""

OLDEST_ERROR = """
    SELECT order_id, last_error
    FROM waiting_order
    WHERE last_error IS NOT NULL
    ORDER BY position
    LIMIT 1
"""


@dataclass(frozen=True)
class WaitingOrder:
    """Waiting order and its position in the queue."""

    position: int
    lines: tuple[Line, ...]


async def insert(connection: Connection, order_id: str, lines: Sequence[Line]) -> None:
    """Append an order to the queue. Requires the lock of its articles, which serializes the positions of
    orders for the same article."""
    await connection.execute(INSERT, order_id, *columns(lines))


async def delete(connection: Connection, order_id: str) -> None:
    """Remove the order from the queue, if it is there."""
    await connection.execute(DELETE, order_id)


async def find_due(connection: Connection, order_id: str) -> WaitingOrder | None:
    """Return the waiting order; None if it does not wait, is parked or not due for a retry yet."""
    row = await connection.fetchrow(FIND_DUE, order_id)
    if row is None:
        return None
    return WaitingOrder(row["position"], tuple(map(Line, row["skus"], row["quantities"])))


async def free_quantities(connection: Connection, skus: Sequence[str], position: int) -> dict[str, int]:
    """Return the pieces of each known article that an order at this position may reserve. Negative when the
    claims before it exceed the stock."""
    return {row["sku"]: row["free"] for row in await connection.fetch(FREE, skus, position)}


async def find_servable(connection: Connection, limit: int) -> list[str]:
    """Return the ids of due orders whose goods are in stock: those never tried first, then oldest first."""
    return [row["order_id"] for row in await connection.fetch(SERVABLE, limit)]


async def record_failure(
    connection: Connection, order_id: str, error: BaseException, *, max_attempts: int
) -> bool:
    """Count a failed attempt. The order is retried with exponential backoff; after `max_attempts` it is
    parked: not retried, and without a claim. Return whether it was parked now."""
    reason = error_reason(error)
    row = await connection.fetchrow(FAILED, order_id, reason, max_attempts)
    is_parked = row is not None and row["parked_at"] is not None
    if is_parked:
        await connection.execute(DROP_CLAIM, order_id)
        log.error("waiting order parked", order_id=order_id, exc_info=error)
    else:
        log.warning("waiting order failed", order_id=order_id, exc_info=error)
    return is_parked


async def postpone(connection: Connection, order_id: str, error: Exception, *, max_delay: float) -> None:
    """Retry the order after a random delay of up to `max_delay` seconds without counting an attempt: a
    dependency is unavailable."""
    await connection.execute(POSTPONED, order_id, str(error), max_delay)
    log.warning("waiting order postponed", order_id=order_id, error=str(error))


async def reset(connection: Connection, order_id: str) -> bool:
    """Make a waiting order due at once, with attempts reset and its claim restored at its old position.
    Return False if it does not wait."""
    if await connection.fetchval(RESET, order_id) is None:
        return False
    await connection.execute(RESTORE_CLAIM, order_id)
    return True


async def find_degraded_reason(connection: Connection) -> str | None:
    """Return the id and last error of the oldest order that failed or was postponed, None if there is
    none."""
    row = await connection.fetchrow(OLDEST_ERROR)
    return None if row is None else f"order {row['order_id']}: {row['last_error']}"
