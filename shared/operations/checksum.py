"""Checksum of a service's stored state, to detect changes between two points in time."""

import hashlib
import json

from snsqs import WireModel
from snsqs.postgres import Connection

BOOKKEEPING = [
    *("inbox", "paused_listener"),
    *("snsqs_migration", "_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock"),
    *("event_log.attempts", "event_log.next_attempt_at", "event_log.last_error", "event_log.parked_at"),
    *("event_log.relayed_at", "event_log.decided_at", "event_log.decision", "event_log.rule"),
    "event_log.message_id",
]
"""Tables and columns that are not state: delivery of messages and events, pauses, migrations.

All others are included, so a new table is included from the beginning."""

# PostgreSQL generates the statement of each table, because it quotes the names correctly.
STATEMENTS = """
    SELECT format(
        'SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW(%s)::text, 0)), 0)::text AS checksum '
        'FROM %I',
        string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position), table_name
    ) AS statement, table_name::text AS name
    FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
      AND table_name <> ALL ($1) AND table_name || '.' || column_name <> ALL ($1)
    GROUP BY table_name
    ORDER BY table_name
"""

TABLE_TIMEOUT = 60.0
"""Seconds for one table."""

SET_TIMEOUT = f"SET LOCAL statement_timeout = '{TABLE_TIMEOUT:g}s'"


class TableChecksum(WireModel):
    """Number of rows of a table, and the sum of their hashes, which does not depend on their order."""

    table: str
    rows: int
    checksum: str


class StateChecksum(WireModel):
    """Checksums of a service's stored state at one point in time."""

    checksum: str
    """Checksum over all tables."""
    tables: list[TableChecksum]


async def state_checksum(snapshot: Connection) -> StateChecksum:
    """Read every table from end to end; the connection must be from `Database.snapshot`.

    Two equal checksums mean that nothing was stored, changed or deleted and no event was published in
    between, except for changes that cancelled out and 64-bit collisions. Different checksums do not tell the
    cause: a concurrent command, delivery or expiry changes them as well.
    """
    await snapshot.execute(SET_TIMEOUT)
    statements = await snapshot.fetch(STATEMENTS, BOOKKEEPING)
    tables = []
    for name, statement in ((each["name"], each["statement"]) for each in statements):
        row = await snapshot.fetchrow(statement, timeout=TABLE_TIMEOUT)
        assert row is not None
        tables.append(TableChecksum(table=name, **dict(row)))
    return StateChecksum(checksum=digest([each.model_dump() for each in tables]), tables=tables)


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON value in canonical form, to compare values without transferring them."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
