"""Lock of a folder: one system at a time uses its data, and none of its programs outlives the system.

Every program inherits the locked file, so the folder stays locked until the last of them has ended. A
watchdog process ends them when the main process has died, however it died.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_STOP_TIMEOUT = 25.0
"""Seconds between SIGTERM and SIGKILL, as in `local.program`."""


class FolderInUse(Exception):
    """Programs that still run use the data in the folder. The message names them."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock the folder. Yield the file descriptor that its programs must inherit. Raises FolderInUse."""
    file = folder / "lock"
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pids = ", ".join(str(process.pid) for process in _holders(file)) or "that are just ending"
            raise FolderInUse(
                f"another system uses the data in {folder}: stop it first (processes {pids})"
            ) from None
        watchdog = subprocess.Popen(
            [sys.executable, "-m", "local.lock", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],
            start_new_session=True,  # the signals of the terminal are for the main process
        )
        try:
            yield lock.fileno()
        finally:
            watchdog.communicate()  # closes its standard input


def watch(folder: Path) -> None:
    """Wait until the main process closes standard input or dies. Then end the programs that still run,
    PostgreSQL last."""
    own = {os.getpid(), os.getppid()}
    sys.stdin.read()
    while programs := [each for each in _holders(folder / "lock") if each.pid not in own]:
        _stop(programs, signal.SIGTERM)
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        pid = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        _stop([psutil.Process(pid)], signal.SIGINT)  # ends its clients' connections


def _holders(file: Path) -> list[psutil.Process]:
    """Return the processes that have the file open."""
    path, found = str(file.resolve()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if any(opened.path == path for opened in process.open_files()):
                found.append(process)
    return found


def _stop(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            process.resume()  # one that is stopped receives the signal only then
    _, late = psutil.wait_procs(processes, timeout=_STOP_TIMEOUT)
    for process in late:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(late)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
