"""The README's five steps to a handler for a new event, executed in a copy of this repository."""

import re
from pathlib import Path

import pytest

from tests.system.copies import copy_to, run

pytestmark = pytest.mark.usefixtures("processes")

RECEIVED = """
import asyncio
from services.scm.listener import MemoWritten, OrderMemo, on_memo_written
from services.scm.main import HANDLERS
from snsqs.testing import MemoryBroker, run_on_virtual_clock

async def received() -> None:
    assert on_memo_written in HANDLERS
    async with MemoryBroker() as broker:
        broker.listen(on_memo_written)
        await broker.publish(MemoWritten(source=OrderMemo(id="1", version=2, memo="ring twice")))
        await broker.join()

run_on_virtual_clock(received())
"""


def steps(root: Path) -> list[str]:
    """Return the code blocks of the steps."""
    readme = (root / "README.md").read_text()
    section = readme.partition("## A handler for a new event, in five steps")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^   ```\w+\n(.*?)^   ```$", section)
    return [re.sub("(?m)^   ", "", block) for block in blocks]


def replace(file: Path, old: str, new: str) -> None:
    """Replace the one place that matches the pattern."""
    text, count = re.subn(old, lambda _: new, file.read_text())
    assert count == 1, f"{file.name}: {old}"
    file.write_text(text)


def test_the_five_steps_leave_everything_green(tmp_path: Path) -> None:
    """Lint, formatting, types, and the tests of the routes; and the handler receives its event."""
    root = copy_to(tmp_path)
    fields, route, model, handler = steps(root)
    routes = root / "services" / "adapter" / "routes.toml"
    replace(routes, r"MemoWritten = \[\]\n", fields)
    replace(routes, r'(?s)\[\[route\]\]\nid = "memos-stay-here"\n.*?hold_back = true\n', route)
    listener = root / "services" / "scm" / "listener.py"
    listener.write_text(f"{listener.read_text()}\n\n{model}\n\n{handler}")
    [handlers] = re.findall(r"`(HANDLERS = .*?)`", (root / "README.md").read_text())
    replace(root / "services" / "scm" / "main.py", r"HANDLERS = \(.*?\)", handlers)

    run(root, "ruff", "check", ".")
    run(root, "ruff", "format", "--check", ".")
    run(root, "mypy", "services/scm")
    run(root, "pytest", "-q", "tests/adapter/test_routes.py", "tests/adapter/test_adapter.py")
    (root / "received.py").write_text(RECEIVED)
    assert "memo on 1: ring twice" in run(root, "received")
