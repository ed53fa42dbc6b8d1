"""`python -m services.console dead-letters`: output, rejections and exit codes."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from snsqs import AwsClients
from typer.testing import CliRunner

from services.console.main import cli
from tests.console.letters import DEAD_LETTERS, QUEUE, DeadLetterFixture, dead_letter_fixture, letters, orders
from tests.serving import Served, eventually
from tests.snsqs.queues import message

pytestmark = pytest.mark.usefixtures("silence")


@pytest.fixture
async def dead(aws: AwsClients) -> DeadLetterFixture:
    return await dead_letter_fixture(aws)


async def command(console: Served, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Return its exit code, its output, and its error output."""
    env = {"CONSOLE_URL": console.url, **environment}
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)
    return result.exit_code, result.stdout, result.stderr


async def test_dead_letters_are_listed_as_a_table_or_json(console: Served, dead: DeadLetterFixture) -> None:
    """A line for each, or the API's JSON."""
    await dead.add(message("OrderCompleted", subject="7"), error=ValueError("no such article"))
    code, printed, _ = await command(console, "dead-letters", "list", "--queue", QUEUE)
    assert code == 0
    heading, line = printed.splitlines()
    assert heading.split() == ["id", "queue", "type", "order", "since", "receives", "reason"]
    assert line.rstrip().endswith("5         ValueError: no such article")
    code, printed, _ = await command(console, "dead-letters", "list", "--json")
    [letter] = json.loads(printed)["letters"]
    assert (code, letter["orderId"]) == (0, "7")
    code, printed, _ = await command(console, "dead-letters", "show", letter["id"], "--body")
    assert json.loads(printed)["source"]["id"] == "7"


async def test_a_corrected_dead_letter_is_redriven(
    console: Served, dead: DeadLetterFixture, tmp_path: Path
) -> None:
    """The body comes from a file; the exit code is 1 when it is refused, and the message stays."""
    await dead.add(message("OrderCompleted", subject="7", version=2))
    [letter] = await letters(console)
    body = tmp_path / "body.json"
    redrive = ("dead-letters", "redrive", "--queue", QUEUE, "--id", letter["id"], "--body", str(body))
    body.write_text('{"source": {"id": "8", "version": 2}}')
    code, printed, _ = await command(console, *redrive)
    assert code == 1
    assert printed.splitlines()[0] == "done: 0 of 1 sent back, 1 failed"
    assert "the body is not about version 2 of 7" in printed
    body.write_text('{"source": {"id": "7", "version": 2}, "corrected": true}')
    assert await command(console, *redrive) == (
        0,
        "done: 1 of 1 sent back, 0 failed\ntheir outcomes: 1 unknown\n",  # no consumer is registered
        "",
    )
    [redriven] = await dead.received()
    assert json.loads(redriven.body)["corrected"] is True


async def test_a_discard_needs_confirmation(console: Served, dead: DeadLetterFixture) -> None:
    """A dry run lists it; without --yes and without a terminal nothing is done."""
    await dead.add(*orders(3))
    discard = ("dead-letters", "discard", "--queue", QUEUE, "--type", "OrderCompleted")
    code, printed, _ = await command(console, *discard, "--dry-run")
    assert code == 0
    assert printed.startswith("dry run: 3 of 3 scanned would be discarded\n")
    code, printed, errors = await command(console, *discard)
    assert (code, printed) == (2, "")
    assert errors == "error: no terminal to confirm on: pass --yes to delete them for good\n"
    assert await dead.counts() == (0, 3)
    code, printed, _ = await command(console, *discard, "--yes", "--json")
    assert (code, json.loads(printed)["done"]) == (0, 3)
    code, printed, _ = await command(console, "audit")
    assert [line.split()[2:5] for line in printed.splitlines()[1:3]] == [
        ["developer", "discard", "ended"],
        ["developer", "discard", "moving"],
    ]


async def test_ctrl_c_cancels_what_it_started(console: Served, dead: DeadLetterFixture) -> None:
    """After what has begun; it prints what was done, and ends with 130. The rest is in the queue."""
    await dead.add(*orders(6))
    slow = ("--all", "--per-second", "0.02", "--json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.console", "dead-letters", "redrive", "--queue", QUEUE, *slow),
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "CONSOLE_URL": console.url},
        stdout=asyncio.subprocess.PIPE,
    )

    async def has_begun() -> bool:
        printed = (await command(console, "operations", "list", "--json"))[1]
        return any(each["done"] for each in json.loads(printed))

    await eventually(has_begun)
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    operation = json.loads(output)
    assert (process.returncode, operation["status"]) == (130, "cancelled")
    assert operation["done"] == 1
    assert await dead.counts() == (operation["done"], 6 - operation["done"])


async def test_a_rejection_is_one_line(console: Served) -> None:
    """And exit code 2: invalid arguments, missing permissions, an unavailable console."""
    for arguments, environment, reason in (
        (
            ("redrive", "--queue", QUEUE),
            {},
            "error: no selection: pass --id, --type, --order or --error, or --all",
        ),
        (("redrive", "--queue", "x", "--all"), {}, "error: no dead-letter queue 'x' belongs to a listener"),
        (("list",), {"OPERATOR_TOKEN": "token-of-another-system"}, "Unknown token (OPERATOR_TOKEN)"),
        (("list",), {"OPERATOR_TOKEN": "short"}, "OPERATOR_TOKEN is invalid: a token must have at least 16"),
        (("list",), {"CONSOLE_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1 does not answer"),
        (("show", DEAD_LETTERS), {}, "error: no dead letter has the id"),
    ):
        code, printed, errors = await command(console, "dead-letters", *arguments, **environment)
        assert (code, printed) == (2, ""), errors
        [line] = errors.splitlines()
        assert reason in line
