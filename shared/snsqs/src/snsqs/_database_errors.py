"""Errors of the database, whichever driver is used, and the SQLSTATE classes that they stand for."""

_UNAVAILABLE = {"08", "53", "57"}
"""Connection exception, insufficient resources, operator intervention (such as a shutdown or a statement
timeout)."""

_LOCK_TIMEOUT = "55P03"
"""Lock not available: another transaction has held it for longer than `lock_timeout`."""

_UNSTORABLE = {"22", "54"}
"""Data exception, program limit exceeded."""


class DatabaseUnavailable(Exception):
    """The database is unavailable or too slow. Nothing was stored; retry later."""


class Unstorable(Exception):
    """PostgreSQL cannot store a value: out of range, too long for an index, or with U+0000 in it. A retry
    cannot succeed; validate values where they enter."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during the commit: the transaction is committed or rolled back as a whole.
    Read the state before retrying, unless the transaction is idempotent."""


def error_of(sqlstate: str | None) -> type[DatabaseUnavailable] | type[Unstorable] | None:
    """Return the class of error for a SQLSTATE, five characters; None for errors of the statement itself."""
    condition = (sqlstate or "")[:2]
    if condition in _UNAVAILABLE or sqlstate == _LOCK_TIMEOUT:
        return DatabaseUnavailable
    return Unstorable if condition in _UNSTORABLE else None
