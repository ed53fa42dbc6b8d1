"""Pages of the library's documentation, and the programs that their code blocks are."""

import re
import subprocess
from pathlib import Path

from tests.snsqs.conftest import PROJECT, Installation

DOCS = PROJECT / "docs"
GUIDE = DOCS / "guide.md"
README = PROJECT / "README.md"
PAGES = sorted(path for path in DOCS.glob("*.md") if path != GUIDE)
"""Pages on one topic; the blocks of each are one program."""

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(\w+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Name and code of a file that a page writes."""

# A module of its own, because generic models look up their module by its name.
RUN = """
import pathlib, sys, types

def run(page, code):
    module = sys.modules["page"] = types.ModuleType("page")
    exec(compile(code, page, "exec", dont_inherit=True), vars(module))
    return module
"""


def python(text: str) -> str:
    """Return the Python blocks of a page, on the same lines as in the page."""
    code = ["\n"] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(keepends=True), start=first):
            code[number] = line
    return "".join(code)


def run(
    page: Path, text: str, installed: Installation, folder: Path, *, then: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the blocks of `text` as one module, and `then` with this module as `page`. `folder` is empty."""
    (folder / "code.txt").write_text(python(text))
    program = f"{RUN}\npage = run({str(page)!r}, pathlib.Path('code.txt').read_text())\n{then}"
    return installed.run("-c", program, cwd=folder, **environment)
