"""Account: what inventory says of an article twice, to be compared."""

from shared.domain_event import WireModel
from shared.postgres import Connection

ACCOUNTS = """
    SELECT sku, on_hand, reserved,
           (SELECT coalesce(sum(quantity), 0)::bigint
            FROM stock_movement WHERE stock_movement.sku = stock.sku) AS moved,
           (SELECT coalesce(sum(quantity), 0)::bigint
            FROM reservation WHERE reservation.sku = stock.sku AND status = 'OPEN') AS reserved_for_orders
    FROM stock
    WHERE sku > $1
    ORDER BY sku
    LIMIT $2
"""


class StockAccount(WireModel):
    """Of one article: what is on hand is the sum of its movements, and what is reserved is the sum of what is
    set aside for orders. Where two of them differ, something was lost."""

    sku: str
    on_hand: int
    moved: int
    reserved: int
    reserved_for_orders: int


async def accounts(connection: Connection, after: str, limit: int) -> list[StockAccount]:
    """Article by article, from the first that follows `after`."""
    return [StockAccount(**dict(row)) for row in await connection.fetch(ACCOUNTS, after, limit)]
