"""Output: standard output of a command that must go on while nobody reads it."""

import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from rich.console import Console

_MAX_PENDING = 10_000
"""Pieces of text that wait to be written; later ones are dropped."""

_CLOSE_TIMEOUT = 2.0
"""Seconds for the rest at the end, when it may be that nobody reads it."""


@contextmanager
def background_console() -> Iterator[Console]:
    """Console on an Output."""
    with Output() as output:
        yield Console(file=cast(IO[str], output), highlight=False, soft_wrap=True)


class Output(io.TextIOBase):
    """Standard output that never blocks: a thread writes to it.

    A pipe that is not read, or a terminal that was stopped with Ctrl-S, would block the event loop, and with
    it the end of all programs. When the other end is closed, the process receives SIGTERM, as it would end
    with SIGPIPE by default.
    """

    def __init__(self) -> None:
        self._pending: queue.Queue[str | None] = queue.Queue(_MAX_PENDING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_pending, daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a variable
        return sys.stdout.encoding

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        try:
            if self._dropped:
                self._pending.put_nowait(f"({self._dropped} lines were not read in time; see the logs)\n")
                self._dropped = 0
            self._pending.put_nowait(text)
        except queue.Full:
            self._dropped += text.count("\n")
        return len(text)

    def close(self) -> None:
        """Wait up to 2 s until everything is written."""
        if not self.closed:
            try:
                self._pending.put(None, timeout=_CLOSE_TIMEOUT)
            except queue.Full:
                return
            self._thread.join(_CLOSE_TIMEOUT)
        super().close()

    def _write_pending(self) -> None:
        while (text := self._pending.get()) is not None:
            rest = text.encode(self.encoding, errors="replace")
            try:
                while rest:
                    rest = rest[os.write(self.fileno(), rest) :]
            except OSError:
                os.kill(os.getpid(), signal.SIGTERM)
                return
