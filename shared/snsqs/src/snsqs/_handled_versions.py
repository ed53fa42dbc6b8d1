"""Newest handled version of each aggregate, and its repair."""

from typing import TYPE_CHECKING

from snsqs._model import MAX_VERSION, WireModel
from snsqs.sql import SqlConnection

if TYPE_CHECKING:
    from snsqs.postgres import Connection

VERSIONS = """
    SELECT consumer, source, sequence AS version
    FROM inbox_version
    WHERE subject = $1
    ORDER BY consumer, source
    LIMIT 1000
"""

SET_VERSION = """
    WITH before AS (
        SELECT sequence FROM inbox_version WHERE consumer = $1 AND subject = $2 AND source = $3 FOR UPDATE
    ), changed AS (
        INSERT INTO inbox_version (consumer, subject, source, sequence)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (consumer, subject, source) DO UPDATE SET sequence = excluded.sequence
    )
    SELECT sequence
    FROM before
"""

# Their records would absorb the messages as duplicates when they are sent again.
FORGET_SUPERSEDED = """
    DELETE FROM inbox
    WHERE consumer = $1 AND subject = $2 AND sequence > $3 AND outcome = 'superseded'
"""


class HandledVersion(WireModel):
    """Newest version of an aggregate that a consumer has handled; older ones are superseded."""

    consumer: str
    """Name of the queue."""
    source: str
    """Service that published the events; empty if it is unknown."""
    version: int


async def handled_versions(connection: "SqlConnection | Connection", subject: str) -> list[HandledVersion]:
    """Return the newest handled versions of one aggregate, by queue and source."""
    return [HandledVersion(**dict(row)) for row in await connection.fetch(VERSIONS, subject)]


async def set_handled_version(
    connection: "SqlConnection | Connection", consumer: str, subject: str, version: int, *, source: str = ""
) -> int | None:
    """Set the newest handled version of an aggregate, after a message with a wrong one was handled or before
    a message with a great one is. Return the version before, None if there was none.

    The next message with a greater version is handled. Records of superseded messages with a greater version
    are deleted, so that these messages can be sent again. Raises ValueError for a version that is out of
    range.
    """
    if not 0 <= version <= MAX_VERSION:
        raise ValueError(f"the version of {subject} must be 0 to {MAX_VERSION}, not {version}")
    row = await connection.fetchrow(SET_VERSION, consumer, subject, source, version)
    await connection.execute(FORGET_SUPERSEDED, consumer, subject, version)
    before: int | None = None if row is None else row["sequence"]
    return before
