"""`python -m snsqs.topology`: show, apply and drift, and their exit codes."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from snsqs import AwsClients, Topology
from snsqs.topology import Account
from snsqs.topology.__main__ import main

from tests.snsqs.queues import QUEUE, TOPIC
from tests.snsqs.test_topology import attributes_of, binding, on_painted, on_sold, subscriptions

pytestmark = pytest.mark.usefixtures("processes")

ACCOUNT = Account("us-east-1", "000000000000", "aws")
PAINTED = (on_painted,)
BOTH = (on_painted, on_sold)
UNMARKED = [binding]


async def command(*arguments: str, url: str) -> tuple[int, list[str]]:
    """Return exit code and output lines of `python -m snsqs.topology`, run without credentials: a local
    server accepts any."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snsqs.topology", *arguments),
        env={"AWS_ENDPOINT_URL": url},
        cwd=Path(__file__).parent.parent.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


async def test_the_command_applies_what_it_reports(aws_url: str) -> None:
    """The exit code is 1 with drift and 0 without; each line names its queue."""
    code, lines = await command("drift", f"{__name__}:BOTH", url=aws_url)
    assert code == 1
    assert len(lines) == 4
    assert f"queue {QUEUE}: subscription to {TOPIC} is missing" in lines
    code, lines = await command("apply", f"{__name__}:BOTH", url=aws_url)
    assert code == 0
    assert f"queue {QUEUE}: corrected: subscription to {TOPIC} is missing" in lines
    assert await command("drift", f"{__name__}:BOTH", url=aws_url) == (0, [f"queue {QUEUE}: no drift"])


async def test_an_unavailable_server_is_not_drift() -> None:
    """Drift was not checked: exit code 2 and one line."""
    code, lines = await command("drift", f"{__name__}:BOTH", url="http://127.0.0.1:1")
    assert code == 2
    assert lines == [
        'error: SNS and SQS cannot be queried: Could not connect to the endpoint URL: "http://127.0.0.1:1/"'
    ]


async def test_show_prints_the_attributes_that_are_created(
    aws: AwsClients, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the account filled in, they equal those on the server."""
    await Topology(aws, create=True).listener_queues(binding())
    assert main(["show", "--json", f"{__name__}:BOTH"]) == 0
    shown = capsys.readouterr().out
    for name, value in {"AWS::AccountId": ACCOUNT.id, "AWS::Partition": ACCOUNT.partition}.items():
        shown = shown.replace(f"${{{name}}}", value)
    [described] = json.loads(shown)
    [subscription] = await subscriptions(aws)
    for part, existing in {
        "queue": await attributes_of(aws, QUEUE),
        "deadLetterQueue": await attributes_of(aws, f"{QUEUE}-dlq"),
        "subscriptions": subscription,
    }.items():
        required = described[part][0] if part == "subscriptions" else described[part]
        for name, value in required["attributes"].items():
            assert (existing[name] if isinstance(value, str) else json.loads(existing[name])) == value
    assert [each["arn"] for each in described["topics"]] == [ACCOUNT.arn("sns", TOPIC)]
    assert described["handlers"] == {
        "Painted": "tests.snsqs.test_topology.on_painted",
        "Sold": "tests.snsqs.test_topology.on_sold",
    }


def test_the_services_show_what_they_require(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it is derived from the handlers, without a call of AWS."""
    assert main(["show", "services.scm.main:HANDLERS", "services.order.main:HANDLERS"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "queue scm-adapter-order-event-queue",
        "dead-letter queue order-adapter-scm-event-queue-dlq",
        "topic scm-events",
    ):
        assert line in shown.splitlines()
    assert '{"ce-type": ["OrderCompleted"' in shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["services"], "'services' is not module:ATTRIBUTE"),
        (
            ["services.smc.main:HANDLERS"],
            "services.smc.main:HANDLERS cannot be imported: ModuleNotFoundError",
        ),
        (["services.scm.main:HANDLER"], "services.scm.main:HANDLER cannot be imported: AttributeError"),
        (["services.scm.main:MIGRATIONS"], "services.scm.main:MIGRATIONS is not a list of functions"),
        ([f"{__name__}:UNMARKED"], "binding is not marked @sqs_listener"),
        ([f"{__name__}:PAINTED", f"{__name__}:BOTH"], f"BOTH both consume {QUEUE}"),
    ],
)
def test_a_wrong_name_is_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exit code 2, not a stack trace."""
    assert main(["show", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert reason in line
