"""docs/messaging.md tells the truth: its Python blocks are run, in order, as one program."""

import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from snsqs import AwsClients, SnsChannel, Topology

from tests.serving import eventually, serving

pytestmark = pytest.mark.usefixtures("silence")  # what fails on the page fails on purpose

PAGE = Path(__file__).parent.parent.parent / "shared" / "snsqs" / "docs" / "guide.md"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path) -> dict[str, Any]:
    """Runs the blocks of a page, and returns their names. A traceback has the page's own line numbers."""
    text = page.read_text()
    names: dict[str, Any] = {"__name__": page.stem}
    for block in _BLOCK.finditer(text):
        lines_before = text.count("\n", 0, block.start(1))
        code = compile("\n" * lines_before + block[1], str(page), "exec", dont_inherit=True)
        exec(code, names)
    return names


def test_every_example_holds() -> None:
    """Each block runs after those above it, and its asserts hold."""
    assert "create_app" in run(PAGE)


def test_every_python_block_is_found() -> None:
    """One that is indented or spelled `py` would be left out silently."""
    text = PAGE.read_text()
    fences = re.findall(r"^\s*```(\w+)", text, re.MULTILINE)
    assert fences.count("python") == len(_BLOCK.findall(text))
    assert set(fences) == {"python", "sh", "text"}


def test_an_example_that_is_wrong_is_found(tmp_path: Path) -> None:
    """On its own line of the page."""
    page = tmp_path / "wrong.md"
    page.write_text("# Wrong\n\n```python\nx = 1\n```\n\nand then\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        run(page)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 10)


@pytest.fixture
def names() -> dict[str, Any]:
    """Not run in the test, which has a loop already."""
    return run(PAGE)


async def test_the_service_of_the_page_hears_of_an_order(
    names: dict[str, Any], scm_database: str, aws_url: str, aws: AwsClients
) -> None:
    """Its lifespan makes the queue, listens, and has the effect in the inbox's transaction."""
    connection = await asyncpg.connect(scm_database)
    await connection.execute("CREATE TABLE bill (order_id text PRIMARY KEY, status text)")

    async def status() -> str | None:
        told: str | None = await connection.fetchval("SELECT status FROM bill")
        return told

    async with serving(names["create_app"](scm_database, aws_url)) as served:
        await SnsChannel(aws.sns, Topology(aws, create=True), "order-events").send([names["completed"]])
        assert await eventually(status) == "COMPLETED"
        assert (await served.http.get("/readyz")).json()["status"] == "ready"
    await connection.close()
