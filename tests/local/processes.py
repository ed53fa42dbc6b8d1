"""Processes of a local system."""

import os
from pathlib import Path

import psutil


def running_in(folder: Path) -> list[str]:
    """Return the command lines of other processes that have the folder in their command line or environment,
    or are in it."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "cwd", "status"]):
        info = process.info
        about = " ".join([*(info["cmdline"] or []), *(info["environ"] or {}).values(), str(info["cwd"])])
        is_zombie = info["status"] == psutil.STATUS_ZOMBIE
        if process.pid != os.getpid() and not is_zombie and str(folder) in about:
            found.append(" ".join(info["cmdline"] or [])[:200])
    return found
