"""Retention: deletes rows that have reached their age, in small batches."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from snsqs._ranges import require_integer, require_seconds
from snsqs.background import MIN_INTERVAL, PollingLoop, wait_for_event
from snsqs.sql import DatabaseUnavailable, TransactionManager

if TYPE_CHECKING:
    from snsqs.postgres import Database

__all__ = [
    "Expiry",
    "Retention",
    "RetentionOptions",
]

log = logging.getLogger(__name__)

_MAX_DAYS = 36_500


@dataclass(frozen=True)
class Expiry:
    """Rows that expire: those of `table` whose `column`, a timestamp, is more than `days` days ago.

    With `days` None they are kept. `column` needs an index. Both identifiers become part of a statement, so
    they must never come from input. Raises ValueError for less than a day.
    """

    table: str
    column: str
    days: int | None

    def __post_init__(self) -> None:
        if self.days is not None:
            require_integer(self, "days", minimum=1, maximum=_MAX_DAYS)

    @property
    def statement(self) -> str:
        """Deletes up to $2 rows that are older than the interval $1, and returns their number.

        Any number of processes may run it at once: rows that another transaction has locked are left out.
        """
        # As an array the rows are found once; a sub-select could run again, and delete more than $2.
        return f"""
            WITH deleted AS (
                DELETE FROM {self.table}
                WHERE ctid = ANY (ARRAY(
                    SELECT ctid
                    FROM {self.table}
                    WHERE {self.column} < now() - $1::interval
                    ORDER BY {self.column}
                    LIMIT $2
                    FOR UPDATE SKIP LOCKED
                ))
                RETURNING 1
            )
            SELECT count(*) AS deleted FROM deleted
        """  # noqa: S608 - identifiers cannot be parameters


@dataclass(frozen=True)
class RetentionOptions:
    """Batch size and times of a Retention. The times are seconds. Raises ValueError for values that cannot
    work."""

    batch_size: int = 1_000
    """Rows that one statement deletes at most; each batch is a transaction of its own."""
    pause: float = 0.1
    """Between two batches, to leave the disk to others while much is deleted."""
    interval: float = 3_600.0
    """From the end of one sweep to the start of the next."""
    max_backoff: float = 60.0
    """Longest wait after an error of the database."""

    def __post_init__(self) -> None:
        require_integer(self, "batch_size", minimum=1)
        require_seconds(self, "pause")
        for name in ("interval", "max_backoff"):
            require_seconds(self, name, minimum=MIN_INTERVAL)


class Retention(PollingLoop):
    """Deletes expired rows at start and then every hour, until it is stopped. Any number of instances may
    run on one database."""

    def __init__(
        self,
        database: "TransactionManager | Database",
        *expiries: Expiry,
        options: RetentionOptions | None = None,
    ) -> None:
        self._database: TransactionManager = database
        self._expiries = expiries
        self._options = options or RetentionOptions()
        super().__init__(
            "retention",
            self._sweep,
            interval=self._options.interval,
            retry_on=(DatabaseUnavailable,),
            max_backoff=self._options.max_backoff,
        )

    async def _sweep(self) -> None:
        for expiry in self._expiries:
            if expiry.days is not None:
                await self._delete(expiry, timedelta(days=expiry.days))

    async def _delete(self, expiry: Expiry, age: timedelta) -> None:
        deleted, is_full = 0, True
        while is_full and not self.stopping.is_set():
            count = await self._delete_batch(expiry.statement, age)
            deleted, is_full = deleted + count, count == self._options.batch_size
            if is_full:
                await wait_for_event(self.stopping, self._options.pause)
        if deleted:
            about = {"table": expiry.table, "deleted": deleted, "older_than_days": expiry.days}
            log.info("expired rows deleted", extra=about)

    async def _delete_batch(self, statement: str, age: timedelta) -> int:
        async with self._database.transaction() as tx:
            row = await tx.connection.fetchrow(statement, age, self._options.batch_size)
        assert row is not None
        return int(row["deleted"])
