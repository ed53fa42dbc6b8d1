"""Order lock: serializes the transactions that change SCM's side of an order.

Every entry point takes it first: the message listener, the carrier API, and the allocation of goods to
waiting orders. An advisory lock, because the first event of an order finds no row to lock.

Lock order, without which transactions would deadlock: the order lock, then a purchase order's row, then the
rows of `stock` by SKU.
"""

from snsqs.postgres import Transaction

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"


async def lock_order(tx: Transaction, order_id: str) -> None:
    """Wait for the order's lock and hold it until the transaction ends."""
    await tx.connection.execute(LOCK, order_id)


async def try_lock_order(tx: Transaction, order_id: str) -> bool:
    """Take the order's lock if it is free and hold it until the transaction ends. Return whether it was."""
    locked: bool = await tx.connection.fetchval(TRY_LOCK, order_id)
    return locked
