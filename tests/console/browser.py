"""Chromium for the tests of the page. `make chromium` runs this module, which installs a missing one."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Error, async_playwright

LOG = Path(__file__).parent.parent.parent / ".local" / "logs" / "chromium.log"
"""Output of the installation."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")

# Without the background flags it calls home, which a closed network refuses many times over.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def installed() -> str | None:
    """Path of the Chromium that CHROMIUM names, else of the first on the search path. None stands for
    Playwright's own download."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Raises playwright.async_api.Error when Chromium is missing or does not start."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=installed(), args=list(_ARGUMENTS))
        try:
            yield opened
        finally:
            await opened.close()


async def starts() -> bool:
    try:
        async with browser():
            return True
    except Error:
        return False


def installers() -> Iterator[str]:
    """Shell commands that install Chromium, the preferred one first: Playwright's download needs no rights,
    Debian's package works where that download is blocked or lacks libraries."""
    yield f"{shlex.quote(sys.executable)} -m playwright install chromium"
    if shutil.which("apt-get") and os.geteuid() == 0:
        yield "apt-get update && apt-get install --yes chromium"


def main() -> int:
    """Exit code 0 when Chromium starts, installed or not before."""
    if asyncio.run(starts()):
        return 0
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as log:
        for command in installers():
            print(f"installing Chromium for the page tests: {command}", flush=True)
            subprocess.run(command, shell=True, check=False, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            if asyncio.run(starts()):
                return 0
    print(
        "error: the page tests need Chromium: install it (on Debian: apt-get install chromium) or set "
        f"CHROMIUM to its path; the log of the attempts is {LOG}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
