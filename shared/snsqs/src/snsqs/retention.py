"""Retention: deletes what has been kept long enough, a few rows at a time."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from snsqs.background import wait_for_event
from snsqs.postgres import Database, DatabaseUnavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Expiry:
    """Which rows expire, and when.

    `delete` is one statement. It deletes at most $2 rows that are older than $1, an interval, passes over
    those that somebody else has locked, and returns how many it deleted; so any number of processes may
    run it at once. With `days` None the rows are kept.
    """

    rows: str
    """What they are, for the log."""
    delete: str
    days: int | None


@dataclass(frozen=True)
class RetentionOptions:
    """The times are seconds."""

    batch: int = 1_000
    """Rows that one statement deletes at most; each is a transaction of its own."""
    pause: float = 0.1
    """Between two batches, so that deleting much takes long instead of everything that the disk can do."""
    every: float = 3_600.0
    """From the end of one sweep to the start of the next."""
    retry: float = 60.0
    """The same, when the database was away."""


class Retention:
    """Sweeps at once and then every hour, until it is stopped. Any number may run on one database."""

    def __init__(
        self, database: Database, *expiries: Expiry, options: RetentionOptions | None = None
    ) -> None:
        self.degraded_reason: str | None = None
        """Why nothing is deleted just now, or None while all is well."""
        self._database = database
        self._expiries = expiries
        self._options = options or RetentionOptions()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Deletes nothing more; `run` returns after the batch that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._sweep()
            except DatabaseUnavailable as error:
                self.degraded_reason = str(error)
                log.warning("retention waits", error=self.degraded_reason, retry_in=self._options.retry)
                await wait_for_event(self._stopping, self._options.retry)
            else:
                self.degraded_reason = None
                await wait_for_event(self._stopping, self._options.every)

    async def _sweep(self) -> None:
        for expiry in self._expiries:
            if expiry.days is not None:
                await self._delete(expiry, timedelta(days=expiry.days))

    async def _delete(self, expiry: Expiry, age: timedelta) -> None:
        deleted, full = 0, True
        while full and not self._stopping.is_set():
            count = await self._delete_batch(expiry.delete, age)
            deleted, full = deleted + count, count == self._options.batch
            if full:
                await wait_for_event(self._stopping, self._options.pause)
        if deleted:
            log.info("expired", rows=expiry.rows, deleted=deleted, older_than_days=expiry.days)

    async def _delete_batch(self, statement: str, age: timedelta) -> int:
        async with self._database.transaction() as tx:
            count: int = await tx.connection.fetchval(statement, age, self._options.batch)
        return count
