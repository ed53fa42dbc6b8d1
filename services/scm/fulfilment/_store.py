"""Store of fulfilments: one row per order."""

from snsqs.postgres import Connection

from services.scm.fulfilment._fulfilment import Fulfilment

INSERT = """
    INSERT INTO fulfilment (order_id, version, status, lines, shortages, invoice_id, order_version)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

UPDATE = """
    UPDATE fulfilment
    SET version = $2, status = $3, lines = $4, shortages = $5, invoice_id = $6, order_version = $7
    WHERE order_id = $1
"""

FULFILMENTS = """
    SELECT order_id AS id, version, status, lines, shortages, invoice_id, order_version
    FROM fulfilment
"""

FIND = f"{FULFILMENTS} WHERE order_id = $1"

PAGE = f"{FULFILMENTS} WHERE order_id > $1 ORDER BY order_id LIMIT $2"

IS_KNOWN = "SELECT EXISTS (SELECT FROM fulfilment WHERE order_id = $1)"


async def insert(connection: Connection, fulfilment: Fulfilment) -> None:
    """Insert a new fulfilment."""
    await connection.execute(INSERT, *_row(fulfilment))


async def update(connection: Connection, fulfilment: Fulfilment) -> None:
    """Update the fulfilment's row to this version."""
    await connection.execute(UPDATE, *_row(fulfilment))


async def find(connection: Connection, order_id: str, *, lock: bool = False) -> Fulfilment | None:
    """Return the order's fulfilment, None for an unknown order. With `lock` its row is locked until the
    transaction ends."""
    row = await connection.fetchrow(f"{FIND} FOR UPDATE" if lock else FIND, order_id)
    return None if row is None else Fulfilment.model_validate(dict(row), by_name=True)


async def page(connection: Connection, after: str, limit: int) -> list[Fulfilment]:
    """Return up to `limit` fulfilments of the orders with ids greater than `after`, by id."""
    return [
        Fulfilment.model_validate(dict(row), by_name=True)
        for row in await connection.fetch(PAGE, after, limit)
    ]


async def is_known(connection: Connection, order_id: str) -> bool:
    """Return whether SCM has a fulfilment of the order."""
    known: bool = await connection.fetchval(IS_KNOWN, order_id)
    return known


def _row(fulfilment: Fulfilment) -> list[object]:
    return [
        fulfilment.id,
        fulfilment.version,
        fulfilment.status,
        [line.model_dump() for line in fulfilment.lines],
        [line.model_dump() for line in fulfilment.shortages],
        fulfilment.invoice_id,
        fulfilment.order_version,
    ]
