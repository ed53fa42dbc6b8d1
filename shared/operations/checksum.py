"""Checksum: one number for all that a service has stored, so that two moments can be compared."""

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
"""Tables and columns that are no state: how messages came and events left, who is paused, what is migrated.
Everything else counts, so a new table does from the beginning."""

# PostgreSQL writes each table's statement, because only it knows how a name is to be quoted.
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

PATIENCE = "SET LOCAL statement_timeout = '60s'"

MOST = 60.0
"""Seconds for one table."""


class TableChecksum(WireModel):
    """What a table holds: rows, and the sum of their hashes, which is the same in whatever order they lie."""

    table: str
    rows: int
    checksum: str


class StateChecksum(WireModel):
    """What the service has stored, at one moment. `checksum` is over all tables."""

    checksum: str
    tables: list[TableChecksum]


async def state_checksum(snapshot: Connection) -> StateChecksum:
    """Reads every table from end to end; the connection has to be that of one snapshot.

    Where two are equal, nothing was stored, changed or deleted in between, and no event was published, up
    to changes that undid each other and to collisions of 64 bits. It does not say who changed something:
    whatever else happens meanwhile, a command, a delivery, an expiry, shows up in it too.
    """
    await snapshot.execute(PATIENCE)
    statements = await snapshot.fetch(STATEMENTS, BOOKKEEPING)
    tables = []
    for name, statement in ((each["name"], each["statement"]) for each in statements):
        row = await snapshot.fetchrow(statement, timeout=MOST)
        assert row is not None
        tables.append(TableChecksum(table=name, **dict(row)))
    return StateChecksum(checksum=digest([each.model_dump() for each in tables]), tables=tables)


def digest(value: object) -> str:
    """The same for the same JSON, whoever has it. What is compared need not leave its service."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
