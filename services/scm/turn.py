"""Turn: whatever changes SCM's side of an order waits until nobody else changes it."""

from snsqs.postgres import Transaction

TAKE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

TRY = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"


async def take_turn(tx: Transaction, order_id: str) -> None:
    """Returns when no other transaction has the order's turn, and keeps it until this one ends.

    Every door that changes SCM's side of an order comes here first: the queue's listener, the carrier, the
    allocation of goods to orders that wait. An advisory lock, because the first of them finds no row to lock.

    It is the first lock that a transaction takes. After it come a purchase order's row, then those of the
    stock in the order of their articles: whoever keeps to this never waits in a circle.
    """
    await tx.connection.execute(TAKE, order_id)


async def try_turn(tx: Transaction, order_id: str) -> bool:
    """Takes the turn when nobody has it, and says whether it did; for those who can come back later."""
    was_free: bool = await tx.connection.fetchval(TRY, order_id)
    return was_free
