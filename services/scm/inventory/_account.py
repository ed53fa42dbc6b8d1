"""Account: balances of an article and the sums of its records, for reconciliation."""

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
    """Balances of one article. `on_hand` must equal `moved`, the sum of its movements, and `reserved` must
    equal `reserved_for_orders`, the sum of its open reservations. `received` and `dispatched` are the parts
    of `moved` that can be compared with purchase orders and dispatched orders."""

    sku: str
    on_hand: int
    moved: int
    received: int
    dispatched: int
    reserved: int
    reserved_for_orders: int


async def stock_accounts(connection: Connection, after: str, limit: int) -> list[StockAccount]:
    """Return up to `limit` accounts of the SKUs greater than `after`, by SKU."""
    return [StockAccount(**dict(row)) for row in await connection.fetch(ACCOUNTS, after, limit)]
