"""Stock: how much there is of each article, and the ledger of how that came about."""

from collections.abc import Sequence
from enum import StrEnum

from snsqs.postgres import Connection

from services.scm.events import Line

# One article after the other in their order, so that two transactions never wait for each other; one that
# is unknown becomes known, because what is not there cannot be locked. The update is there for its lock
# only, and changes nothing.
LOCK = """
    INSERT INTO stock (sku, on_hand)
    SELECT sku, 0
    FROM unnest($1::text[]) AS sku
    ORDER BY sku
    ON CONFLICT (sku) DO UPDATE SET on_hand = 0 WHERE false
"""

MOVE = """
    WITH moved AS (
        UPDATE stock
        SET on_hand = on_hand + line.quantity
        FROM unnest($1::text[], $2::bigint[]) AS line (sku, quantity)
        WHERE stock.sku = line.sku
        RETURNING line.sku, line.quantity
    )
    INSERT INTO stock_movement (sku, quantity, reason, reference)
    SELECT sku, quantity, $3, $4
    FROM moved
"""


class Reason(StrEnum):
    """Why there is more or less on hand than before."""

    OPENED = "OPENED"
    """It was there when the ledger began."""
    COUNTED = "COUNTED"
    """Somebody counted, and this is the difference."""
    RECEIVED = "RECEIVED"
    DISPATCHED = "DISPATCHED"


async def lock(connection: Connection, skus: Sequence[str]) -> None:
    """Locks these articles, each named once, until the transaction ends. Whatever changes stock, or decides
    by what is free, does this before it reads."""
    await connection.execute(LOCK, skus)


async def move(connection: Connection, lines: Sequence[Line], reason: Reason, reference: str | None) -> None:
    """Changes what is on hand of articles that are locked, and enters it into the ledger."""
    await connection.execute(MOVE, *columns(lines), reason, reference)


def columns(lines: Sequence[Line]) -> tuple[list[str], list[int]]:
    """The lines as SQL takes them."""
    return [line.sku for line in lines], [line.quantity for line in lines]
