"""Audit: who did what to the messages, and when. Written before anything moves, and only ever appended."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

Record = dict[str, Any]

T = TypeVar("T")

_TAIL_BYTES = 4 * 1024 * 1024


class AuditUnavailable(Exception):
    """The audit file (AUDIT_FILE) cannot be written, so nothing is done; or it cannot be read."""


class Audit:
    """A file of JSON lines; the log has the same, as lines "audit"."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def write(self, who: str, what: str, **about: Any) -> None:
        """Returns when the line is on the disk. Raises AuditUnavailable."""
        record = {"at": datetime.now(UTC).isoformat(), "who": who, "what": what, **about}
        await self._call(self._append, record)
        log.info("audit", who=who, what=what, **about)

    @asynccontextmanager
    async def of(self, who: str, what: str, **about: Any) -> AsyncIterator[Record]:
        """One line before its body, and one after it with what the body puts into the record. Raises
        AuditUnavailable before the body begins, and only then: what is done is done."""
        await self.write(who, what, step="begun", **about)
        outcome: Record = {}
        try:
            yield outcome
        except BaseException as error:
            outcome.setdefault("error", str(error) or type(error).__name__)
            raise
        finally:
            try:
                await self.write(who, what, step="ended", **about, **outcome)
            except AuditUnavailable as error:
                log.error("audit incomplete", error=str(error), who=who, what=what, **outcome)

    async def last(self, most: int) -> list[Record]:
        """The newest records first; of a large file those within its last 4 MiB."""
        return [
            record for line in reversed((await self._call(self._tail))[-most:]) if (record := _record(line))
        ]

    async def _call(self, work: Callable[..., T], *arguments: object) -> T:
        """The work in a thread, because a disk may be slow."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise AuditUnavailable(f"the audit file {self.file}: {error.strerror or error}") from error

    def _append(self, record: Record) -> None:
        """In one call, so that lines of several processes do not mix."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _tail(self) -> list[bytes]:
        if not self.file.exists():
            return []
        with self.file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
        return lines if size <= _TAIL_BYTES else lines[1:]


def _record(line: bytes) -> Record | None:
    """None for half a line, which a full disk may have left."""
    try:
        record: Record = json.loads(line)
    except ValueError:
        return None
    return record
