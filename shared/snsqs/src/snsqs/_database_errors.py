"""Errors of the database, whichever driver is used, and the SQLSTATE classes that they stand for."""

import traceback

_UNAVAILABLE = {"08", "53", "57"}
"""Connection exception, insufficient resources, operator intervention (such as a shutdown)."""

_QUERY_CANCELED = "57014"
"""By `statement_timeout`, or by an operator: the server is available."""

_LOCK_TIMEOUT = "55P03"
"""Lock not available: another transaction has held it for longer than `lock_timeout`."""

_UNSTORABLE = {"22", "54"}
"""Data exception, program limit exceeded."""


class DatabaseUnavailable(Exception):
    """The database is unavailable. Nothing was stored; retry later."""


class StatementTimeout(DatabaseUnavailable):
    """A statement took too long and was canceled, while the database is available. Nothing was stored. A
    request or a background loop may retry later; for a message it is a failure like any other, because the
    same statement is likely to take as long again."""


class Unstorable(Exception):
    """PostgreSQL cannot store a value: out of range, too long for an index, or with U+0000 in it. A retry
    cannot succeed; validate values where they enter."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during the commit: the transaction is committed or rolled back as a whole.
    Read the state before retrying, unless the transaction is idempotent."""


def error_of(sqlstate: str | None) -> type[DatabaseUnavailable] | type[Unstorable] | None:
    """Return the class of error for a SQLSTATE, five characters; None for errors of the statement itself."""
    condition = (sqlstate or "")[:2]
    if sqlstate == _QUERY_CANCELED:
        return StatementTimeout
    if condition in _UNAVAILABLE or sqlstate == _LOCK_TIMEOUT:
        return DatabaseUnavailable
    return Unstorable if condition in _UNSTORABLE else None


def is_raised_in(error: BaseException, package: str) -> bool:
    """Return whether an error was raised in a package, and not in the code that calls it."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.partition(".")[0] == package for name in names)
