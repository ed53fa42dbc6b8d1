"""Account: what inventory says of an article twice, to be compared."""

from snsqs import WireModel
from snsqs.postgres import Connection

ACCOUNTS = """
    SELECT sku, on_hand, reserved, moved, received, dispatched,
           (SELECT coalesce(sum(quantity), 0)::bigint
            FROM reservation WHERE reservation.sku = stock.sku AND status = 'OPEN') AS reserved_for_orders
    FROM stock,
         LATERAL (
             SELECT coalesce(sum(quantity), 0)::bigint AS moved,
                    coalesce(sum(quantity) FILTER (WHERE reason = 'RECEIVED'), 0)::bigint AS received,
                    coalesce(-sum(quantity) FILTER (WHERE reason = 'DISPATCHED'), 0)::bigint AS dispatched
             FROM stock_movement
             WHERE stock_movement.sku = stock.sku
         ) AS ledger
    WHERE sku > $1
    ORDER BY sku
    LIMIT $2
"""


class StockAccount(WireModel):
    """Of one article: what is on hand is the sum of its movements, and what is reserved is the sum of what is
    set aside for orders. Where two of them differ, something was lost. Of the movements, what was received
    is also known to the purchase orders, and what was dispatched to the orders that have left."""

    sku: str
    on_hand: int
    moved: int
    received: int
    dispatched: int
    reserved: int
    reserved_for_orders: int


async def accounts(connection: Connection, after: str, limit: int) -> list[StockAccount]:
    """Article by article, from the first that follows `after`."""
    return [StockAccount(**dict(row)) for row in await connection.fetch(ACCOUNTS, after, limit)]
