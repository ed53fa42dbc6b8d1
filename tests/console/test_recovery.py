"""Dead letters through the console's API: browsed, redriven, discarded."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from snsqs import AwsClients, ListenerContainer, Message, TerminalError, Topology, bindings, sqs_listener
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON
from snsqs.queues import RawAttributes

from local.ports import HOST
from tests.console.letters import (
    DEAD_LETTERS,
    QUEUE,
    DeadLetterFixture,
    begin,
    browse,
    dead_letter_fixture,
    do,
    ended,
    letters,
    orders,
    refused,
)
from tests.serving import (
    OPERATOR,
    SERVICE,
    Served,
    adapter_service,
    console_service,
    eventually,
    scm_service,
    serving,
)
from tests.snsqs.queues import Painted, message
from tests.snsqs.relays import running
from tests.system.test_flow import completed_order, get

FIFO_ROUTE = """
[published.order]
Painted = ["id"]

[[route]]
id = "painted"
source = "order"
type = "Painted"
topic = "order-events.fifo"
"""


@pytest.fixture
async def dead(aws: AwsClients) -> DeadLetterFixture:
    return await dead_letter_fixture(aws)


async def test_a_look_shows_what_is_known(console: Served, dead: DeadLetterFixture) -> None:
    """What the message is about, why, when and after how many receives it died, and its body."""
    died = message("OrderCompleted", subject="7", version=2)
    await dead.add(died, error=ValueError("no such article"))
    [letter] = await letters(console)
    found = {name: letter[name] for name in ("eventId", "type", "orderId", "version", "reason", "error")}
    assert found == {
        "eventId": died.id,
        "type": "OrderCompleted",
        "orderId": "7",
        "version": 2,
        "reason": "ValueError: no such article",
        "error": "ValueError",
    }
    assert (letter["queue"], letter["receiveCount"], letter["body"]) == (DEAD_LETTERS, 5, died.payload)
    assert letter["sentAt"] is not None


async def test_a_look_consumes_nothing(console: Served, dead: DeadLetterFixture) -> None:
    """Everything is visible again at once, after any number of sessions; only receives are counted."""
    await dead.add(*orders(25))
    first = await letters(console)
    assert await dead.counts() == (0, 25)
    again = await letters(console)
    assert sorted(each["id"] for each in first) == sorted(each["id"] for each in again)
    assert len({each["id"] for each in first}) == 25
    assert {each["looks"] for each in again} == {2}


async def test_looks_at_the_same_time_see_the_same(console: Served, dead: DeadLetterFixture) -> None:
    """They wait for each other, because a session holds its messages."""
    await dead.add(*orders(12))
    founds = await asyncio.gather(*(letters(console) for _ in range(2)))
    assert [len(found) for found in founds] == [12, 12]


async def test_a_look_says_what_it_did_not_see(console: Served, dead: DeadLetterFixture) -> None:
    """Because of its duration, or because another receiver holds messages."""
    await dead.add(*orders(15))
    found = await browse(console, limit=4)
    assert len(found["letters"]) == 4
    assert "about 11 more are there" in found["queues"][0]["incomplete"]
    held = await dead.queues.dead_letters.receive(limit=5, wait=1, visibility=30)
    [look] = (await browse(console))["queues"]
    assert (look["count"], look["lookedAt"]) == (15, 15 - len(held))
    assert f"about {len(held)} more are there" in look["incomplete"]


async def test_a_look_is_filtered(console: Served, dead: DeadLetterFixture) -> None:
    """By queue (or the queue that it serves), type, error and order; every filter has to fit."""
    await dead.add(*orders(2))
    await dead.add(message("OrderCancelled", subject="9"), error=KeyError("x"))
    wanted: list[tuple[dict[str, str], set[str]]] = [
        ({"type": "OrderCancelled"}, {"9"}),
        ({"orderId": "1"}, {"1"}),
        ({"error": "keyerror"}, {"9"}),
        ({"error": "SUCH ARTICLE"}, {"0", "1"}),
        ({"queue": QUEUE}, {"0", "1", "9"}),
        ({"queue": DEAD_LETTERS, "type": "OrderCompleted", "orderId": "9"}, set()),
    ]
    for asked, seen in wanted:
        assert {each["orderId"] for each in await letters(console, **asked)} == seen, asked


async def test_what_sqs_moved_by_itself_has_no_reason(console: Served, dead: DeadLetterFixture) -> None:
    """None was recorded: its consumer was killed each time. A message that is no event is shown as well."""
    await dead.queues.dead_letters.send("not JSON", {}, group=None, deduplication="")
    [letter] = await letters(console)
    assert (letter["reason"], letter["receiveCount"], letter["type"]) == (None, None, None)
    assert letter["body"] == "not JSON"


@pytest.mark.parametrize("details", ["{", "[]", "[" * 50_000])
async def test_a_dead_letter_with_malformed_details_is_shown(
    console: Served, dead: DeadLetterFixture, details: str
) -> None:
    """Whoever may send to the queue can write them; they hide no other dead letter."""
    attributes: RawAttributes = {DEAD_LETTER_DETAILS: {"DataType": "String", "StringValue": details}}
    await dead.queues.dead_letters.send("{}", attributes, group=None, deduplication="")
    [letter] = await letters(console)
    assert (letter["error"], letter["receiveCount"]) == (None, None)


async def test_a_redriven_message_is_as_it_was(console: Served, dead: DeadLetterFixture) -> None:
    """Body, ids and attributes; the dead-letter attributes are gone, the displaced ones are back."""
    died = message("OrderCompleted").copy(headers={f"tenant-{number}": str(number) for number in range(6)})
    assert len(died.headers) == 10
    numbers: Any = {"tenant-4": {"DataType": "Number", "StringValue": "4"}}
    binary: Any = {"tenant-5": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    await dead.add(died, raw=numbers | binary)
    [letter] = await letters(console)
    assert DEAD_LETTER_REASON in letter["attributes"]
    assert "tenant-5" not in letter["attributes"]
    operation = await do(console, "redrive", selection={"ids": [letter["id"]]})
    assert (operation["status"], operation["done"], operation["failed"]) == ("done", 1, 0)
    [redriven] = await dead.received()
    assert (redriven.body, redriven.attributes | {"tenant-5": "5"}) == (died.payload, dict(died.headers))
    assert redriven.raw_attributes["tenant-4"]["DataType"] == "Number"
    assert redriven.raw_attributes["tenant-5"]["BinaryValue"] == b"\x00\xff"
    assert DEAD_LETTER_DETAILS not in redriven.attributes
    assert (await letters(console)) == []


async def test_what_moves_is_selected(console: Served, dead: DeadLetterFixture) -> None:
    """By ids, by the ids of events, by type, order or error; the others stay, and are visible at once."""
    await dead.add(*orders(12), *orders(1, "OrderCancelled"))
    first, second, *_ = await letters(console, type="OrderCompleted")
    assert (await do(console, "redrive", selection={"ids": [first["id"]]}))["done"] == 1
    assert await dead.counts() == (1, 12)
    assert (await do(console, "redrive", selection={"ids": [second["eventId"]]}))["done"] == 1
    assert (await do(console, "redrive", selection={"type": "OrderCancelled"}))["done"] == 1
    assert await dead.counts() == (3, 10)
    left = await do(console, "discard", selection={"error": "article"})
    assert (left["selected"], left["done"]) == (10, 10)
    assert await dead.counts() == (3, 0)


async def test_ids_that_nobody_has_are_told(console: Served, dead: DeadLetterFixture) -> None:
    """Nothing is moved in their place."""
    await dead.add(*orders(1))
    operation = await do(console, "redrive", selection={"ids": ["missing"]})
    assert (operation["status"], operation["selected"]) == ("done", 0)
    assert operation["error"] == "not found: missing"
    assert await dead.counts() == (0, 1)


async def test_a_dry_run_moves_nothing(console: Served, dead: DeadLetterFixture) -> None:
    """And names the messages that would be moved."""
    await dead.add(*orders(3))
    for what in ("redrive", "discard"):
        operation = await do(console, what, selection={"orderId": "2"}, dryRun=True)
        assert (operation["selected"], operation["done"], operation["dryRun"]) == (1, 0, True)
        assert [each["orderId"] for each in operation["listed"]] == ["2"]
    assert await dead.counts() == (0, 3)


async def test_what_is_discarded_is_gone(console: Served, dead: DeadLetterFixture) -> None:
    """From the dead letters, and it does not come to the queue."""
    await dead.add(*orders(2))
    assert (await do(console, "discard"))["done"] == 2
    assert await dead.counts() == (0, 0)


async def test_not_more_than_so_many_a_second(console: Served, dead: DeadLetterFixture) -> None:
    """Five at ten a second take four tenths of a second at least."""
    await dead.add(*orders(5))
    operation = await do(console, "redrive", perSecond=10)
    assert operation["done"] == 5
    began, over = (datetime.fromisoformat(operation[name]) for name in ("beganAt", "endedAt"))
    assert (over - began).total_seconds() >= 0.4


async def test_a_long_redrive_reports_and_is_cancelled(console: Served, dead: DeadLetterFixture) -> None:
    """Sent messages stay sent, the rest is back at once; meanwhile the queue rejects other operations."""
    await dead.add(*orders(12))
    begun = await begin(console, "redrive", perSecond=4)
    at = f"/api/operations/{begun['id']}"

    async def has_progress() -> bool:
        return bool((await console.http.get(at, headers=OPERATOR)).json()["done"] >= 2)

    await eventually(has_progress)
    [look] = (await browse(console))["queues"]
    assert (look["operation"], look["incomplete"]) == (begun["id"], "a redrive holds its messages")
    status, detail = await refused(console, "discard")
    assert (status, detail) == (409, f"redrive {begun['id']} of developer runs on {DEAD_LETTERS}")
    await console.http.post(f"{at}/cancel", headers=OPERATOR)
    operation = await ended(console, begun)
    assert operation["status"] == "cancelled"
    assert operation["expected"] == 12
    assert 2 <= operation["done"] < 12
    assert await dead.counts() == (operation["done"], 12 - operation["done"])


async def test_what_dies_again_at_once_does_not_go_round(
    console: Served, dead: DeadLetterFixture, aws: AwsClients
) -> None:
    """A redrive of everything sends each message once, though their handler kills them faster."""
    handled: list[str] = []

    @sqs_listener(QUEUE, topic="order-events")
    async def never(event: Painted) -> None:
        handled.append(event.source.id)
        raise TerminalError("still no such article")

    await dead.add(*orders(30, "Painted"))
    [binding] = bindings([never])
    listener = ListenerContainer(Topology(aws, create=True), binding)
    await listener.prepare()
    async with running(listener):
        operation = await do(console, "redrive", perSecond=30)
        assert operation["done"] == 30

        async def all_dead_again() -> bool:
            return len(handled) == 30

        await eventually(all_dead_again)
    assert {each["reason"] for each in await letters(console)} == {"TerminalError: still no such article"}
    assert len(handled) == 30


@asynccontextmanager
async def clock_ahead(aws_url: str, hours: int) -> AsyncIterator[str]:
    """URL of the SNS/SQS server as if its clock were ahead, or behind with negative hours."""
    app = FastAPI()

    def shifted(match: "re.Match[bytes]") -> bytes:
        return b"%b%d" % (match[1], int(match[2]) + hours * 3_600_000)

    async with httpx.AsyncClient(base_url=aws_url, timeout=60) as http:

        @app.api_route("/{path:path}", methods=["GET", "POST"])
        async def forward(path: str, request: Request) -> Response:
            headers = {name: value for name, value in request.headers.items() if name != "host"}
            answer = await http.request(
                request.method, f"/{path}", content=await request.body(), headers=headers
            )
            body = re.sub(rb'("SentTimestamp": ?")(\d+)', shifted, answer.content)
            return Response(body, answer.status_code, media_type=answer.headers.get("content-type"))

        async with serving(app) as served:
            yield served.url


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("what", ["redrive", "discard"])
async def test_a_wrong_clock_hides_no_dead_letter(
    console_database: str, aws_url: str, adapter: Served, dead: DeadLetterFixture, hours: int, what: str
) -> None:
    """SQS says that they were sent in an hour, or an hour ago: all of them are selected."""
    await dead.add(*orders(3))
    async with (
        clock_ahead(aws_url, hours) as url,
        console_service(console_database, url, adapter.registration) as console,
    ):
        [letter, *_] = await letters(console)
        age = datetime.now(UTC) - datetime.fromisoformat(letter["sentAt"])
        assert abs(age.total_seconds() + hours * 3_600) < 600
        assert (await do(console, what))["done"] == 3


async def test_a_corrected_body_travels_under_the_same_ids(console: Served, dead: DeadLetterFixture) -> None:
    """The attributes of the event stay unchanged."""
    died = message("OrderCompleted", subject="7", version=2)
    await dead.add(died)
    [letter] = await letters(console)
    corrected = json.dumps({"source": {"id": "7", "version": 2, "lines": []}, "occurenceOn": 1})
    operation = await do(console, "redrive", selection={"ids": [letter["id"]]}, body=corrected)
    assert operation["done"] == 1
    [redriven] = await dead.received()
    assert (redriven.body, redriven.attributes) == (corrected, dict(died.headers))


async def test_a_body_about_something_else_is_not_sent(console: Served, dead: DeadLetterFixture) -> None:
    """It would be sent under the ids of another event. The message stays."""
    await dead.add(message("OrderCompleted", subject="7", version=2))
    [letter] = await letters(console)
    for body, why in {
        "{": "the body is no domain event",
        '{"source": ' + "[" * 20_000: "the body is no domain event",
        '{"source": {"id": "8", "version": 2}}': "the body is not about version 2 of 7",
        '{"source": {"id": "7", "version": 3}}': "the body is not about version 2 of 7",
    }.items():
        operation = await do(console, "redrive", selection={"ids": [letter["id"]]}, body=body)
        assert (operation["done"], operation["failed"]) == (0, 1)
        assert why in operation["listed"][0]["error"]
    assert await dead.counts() == (0, 1)


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        ({"selection": {}}, 422, "must have ids, type, orderId or error"),
        ({"selection": {"all": True, "type": "X"}}, 422, "must have ids, type, orderId or error"),
        ({"selection": {"kind": "X"}}, 422, "Extra inputs are not permitted"),
        ({"body": "{}"}, 422, "a body is for one dead letter"),
        ({"perSecond": 0}, 422, "greater than or equal to 0.01"),
        ({"queue": "another-dlq"}, 404, "no dead-letter queue 'another-dlq' belongs to a listener"),
    ],
)
async def test_a_command_that_is_not_meant_so_is_refused(
    console: Served, command: dict[str, Any], status: int, reason: str
) -> None:
    """All messages are selected by `all` only."""
    code, detail = await refused(console, "redrive", **command)
    assert code == status
    assert reason in detail


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("parked/resubmit", {"service": "order", "selection": {"all": True}, "dryrun": True}),
        ("dead-letters/discard", {"queue": DEAD_LETTERS, "selection": {"all": True}, "dry_run": True}),
        ("replay", {"selection": {"order_id": "1"}}),
    ],
)
async def test_a_field_that_is_spelled_wrong_is_not_passed_over(
    console: Served, path: str, body: dict[str, Any]
) -> None:
    """A dry run would be a real one, and a selection everything."""
    answer = await console.http.post(f"/api/{path}", json=body, headers=OPERATOR)
    assert answer.status_code == 422
    assert "Extra inputs are not permitted" in answer.json()["detail"]


async def test_only_operators_look_and_move(console: Served, dead: DeadLetterFixture) -> None:
    """The services' token is not enough."""
    await dead.add(*orders(1))
    for headers, status in (({}, 401), (SERVICE, 403)):
        for method, path in (
            ("GET", "/api/dead-letters"),
            ("POST", "/api/dead-letters/redrive"),
            ("POST", "/api/dead-letters/discard"),
            ("GET", "/api/operations"),
            ("GET", "/api/audit"),
        ):
            body = {"queue": DEAD_LETTERS, "selection": {"all": True}}
            answer = await console.http.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, path
    assert await dead.counts() == (0, 1)


async def test_who_did_what_is_recorded(console: Served, dead: DeadLetterFixture) -> None:
    """Before anything moves, for each message, and with the outcome; the newest first."""
    await dead.add(*orders(1))
    operation = await do(console, "redrive", perSecond=50)
    records = (await console.http.get("/api/audit", headers=OPERATOR)).json()
    assert [record["step"] for record in records] == ["ended", "moving", "begun"]
    assert {(record["who"], record["what"], record["operation"]) for record in records} == {
        ("developer", "redrive", operation["id"])
    }
    over, moving, begun = records
    assert (begun["on"], begun["selection"]["all"], begun["perSecond"]) == (DEAD_LETTERS, True, 50)
    assert [letter["orderId"] for letter in moving["letters"]] == ["0"]
    assert (over["status"], over["done"], over["failed"]) == ("done", 1, 0)


async def test_stopping_the_console_cancels_what_runs(
    console_database: str, aws_url: str, adapter: Served, dead: DeadLetterFixture
) -> None:
    """It is not killed between sending and deleting, everything goes back, and the audit records it."""
    await dead.add(*orders(5))
    async with console_service(console_database, aws_url, adapter.registration) as console:
        begun = await begin(console, "redrive", perSecond=0.1)

        async def has_progress() -> bool:
            found = await console.http.get(f"/api/operations/{begun['id']}", headers=OPERATOR)
            return bool(found.json()["done"] == 1)

        await eventually(has_progress)
    assert await dead.counts() == (1, 4)
    async with console_service(console_database, aws_url) as another:
        [last] = (await another.http.get("/api/audit", params={"limit": 1}, headers=OPERATOR)).json()
    assert (last["step"], last["status"], last["done"]) == ("ended", "cancelled", 1)


async def test_a_dead_letter_queue_that_passes_on_is_left_alone(
    console: Served, dead: DeadLetterFixture, aws: AwsClients
) -> None:
    """It has a redrive policy of its own: each look would be a receive that counts."""
    await dead.add(*orders(1))
    further = (await aws.sqs.create_queue(QueueName="further"))["QueueUrl"]
    arn = (await aws.sqs.get_queue_attributes(QueueUrl=further, AttributeNames=["QueueArn"]))["Attributes"]
    url = (await aws.sqs.get_queue_url(QueueName=DEAD_LETTERS))["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 1})
    await aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    found = await browse(console)
    assert found["letters"] == []
    assert "redrive policy of its own" in found["queues"][0]["incomplete"]
    assert (await refused(console, "redrive"))[0] == 409


async def test_without_sqs_the_refusal_says_so(console_database: str, adapter: Served) -> None:
    """503, as problem details."""
    async with console_service(console_database, f"http://{HOST}:1", adapter.registration) as console:
        answer = await console.http.get("/api/dead-letters", headers=OPERATOR)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("SNS or SQS unavailable: ")
        assert (await refused(console, "redrive"))[0] == 503


async def test_groups_of_a_fifo_queue_keep_their_order(
    aws: AwsClients, aws_url: str, console_database: str, tmp_path: Path
) -> None:
    """SQS would drop what has the message's first deduplication id; a redrive gives another one."""
    routes = tmp_path / "routes.toml"
    routes.write_text(FIFO_ROUTE)

    @sqs_listener("ordered.fifo", topic="order-events.fifo")
    async def on_painted(event: Painted) -> None: ...

    dead = DeadLetterFixture(aws, await Topology(aws, create=True).listener_queues(*bindings([on_painted])))
    died = [message(subject=group, version=version) for version in range(1, 5) for group in ("a", "b")]
    for each in died:  # they were in the queue just now, under these deduplication ids
        await dead.queues.queue.send(each.payload, {}, group=each.subject, deduplication=each.id)
    first = await dead.received()
    await dead.queues.queue.delete([each.receipt_handle for each in first])
    for each in died:
        await dead.add(each, group=each.subject)
    async with (
        adapter_service(aws_url, routes_file=routes) as fifo_adapter,
        console_service(console_database, aws_url, fifo_adapter.registration) as fifo_console,
    ):
        operation = await do(fifo_console, "redrive", queue="ordered.fifo")
    assert operation["done"] == 8
    redriven = await dead.received()
    for group in ("a", "b"):
        of_group = [each.attributes["ce-sequence"] for each in redriven if each.group == group]
        assert of_group == ["1", "2", "3", "4"]


@asynccontextmanager
async def dying_between_sending_and_deleting(aws_url: str) -> AsyncIterator[str]:
    """A proxy before SQS: no delete call reaches it, as when the process is killed right before."""
    app = FastAPI()

    @app.post("/")
    async def call(request: Request) -> Response:
        if request.headers.get("x-amz-target", "").endswith("DeleteMessageBatch"):
            return Response(status_code=500)
        async with httpx.AsyncClient() as http:
            headers = {name: value for name, value in request.headers.items() if name != "content-length"}
            answer = await http.post(aws_url, content=await request.body(), headers=headers)
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    async with serving(app) as served:
        yield served.url


async def test_a_redrive_that_dies_loses_nothing(
    order: Served,
    scm_database: str,
    adapter: Served,
    console: Served,
    dead: DeadLetterFixture,
    aws_url: str,
    console_database: str,
) -> None:
    """Between sending and deleting: the message is sent once more, and SCM's inbox absorbs it."""
    order_id = await completed_order(order, mug=2)
    [waiting] = await eventually(dead.received)
    await dead.queues.queue.delete([waiting.receipt_handle])
    await dead.add(Message(waiting.body, waiting.attributes))
    async with (
        dying_between_sending_and_deleting(aws_url) as broken,
        console_service(console_database, broken, adapter.registration) as dying,
    ):
        operation = await do(dying, "redrive")
    assert (operation["done"], operation["failed"]) == (0, 1)
    assert "could not be deleted" in operation["listed"][0]["error"]
    [letter] = await letters(console)
    assert letter["orderId"] == order_id
    assert (await do(console, "redrive"))["done"] == 1
    assert await dead.counts() == (2, 0)

    async with scm_service(scm_database, aws_url, adapter.url, order.url) as scm:

        async def absorbed() -> bool:
            received = (await get(scm, f"/orders/{order_id}/events"))["received"]
            return [each["duplicates"] for each in received if each["consumer"] == QUEUE] == [1]

        await eventually(absorbed)
        assert len((await get(scm, f"/orders/{order_id}/events"))["published"]) == 1
