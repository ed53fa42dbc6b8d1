"""Shortage: what an order is short of is bought, of whoever supplies it."""

import structlog
from snsqs.events import event_listener
from snsqs.postgres import Transaction

from services.scm.events import GoodsShort

log = structlog.get_logger(__name__)

# One for each supplier, however many of its articles are missing.
RAISE = """
    INSERT INTO purchase_order (order_id, supplier, lines)
    SELECT $1, coalesce(supplier, 'open-market'),
           jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity, 'received', 0) ORDER BY sku)
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, quantity) LEFT JOIN supply USING (sku)
    GROUP BY coalesce(supplier, 'open-market')
    RETURNING id, supplier
"""


@event_listener
async def buy_what_is_missing(event: GoodsShort, tx: Transaction) -> None:
    """Raises a purchase order of each supplier of what is missing; an article that nobody is known to supply
    is bought on the open market. It takes no lock that others wait for, because the stock's are held."""
    skus = [line.sku for line in event.missing]
    quantities = [line.quantity for line in event.missing]
    for row in await tx.connection.fetch(RAISE, event.order_id, skus, quantities):
        log.info("purchase order raised", purchase_order=row["id"], supplier=row["supplier"])
