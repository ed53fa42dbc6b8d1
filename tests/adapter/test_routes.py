"""Routes: what a route file may say, what it is told when it is wrong, and what can never leave by it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from snsqs import DomainEvent
from typer.testing import CliRunner, Result

from services.adapter.cloud_event import CloudEvent
from services.adapter.main import cli, create_app
from services.adapter.routes import RouteFailed, RouteFile, Routes, RoutesInvalid, read_routes
from services.adapter.routes.dry_run import DryRun, dry_run
from services.adapter.routes.explanation import explain
from services.adapter.routes.published import ListOf, Shape
from services.adapter.settings import RoutesSettings, Settings
from services.order.events import OrderEvent
from services.scm.fulfilment._fulfilment import FulfilmentEvent
from tests.adapter.test_adapter import event
from tests.serving import OPERATOR, Served, eventually, serving
from tests.system.test_flow import completed_order, status_is, stock

PUBLISHED = """\
[published.order]
OrderCompleted = ["id", "version", "status", "orderLines[].sku", "orderLines[].quantity"]
OrderCancelled = ["id", "status"]
MemoWritten = []
"""

PRIVATE = ("010-1234-5678", "Kim", "06236", "Teheran", "12000", "Mug")
"""Values of the aggregate of `event` that are nobody's business."""


def rule(
    text: str, *, id: str = "a", type: str = "OrderCompleted", topic: str | None = "order-events"
) -> str:
    """A rule of six lines without its text."""
    head = f'[[route]]\nid = "{id}"\nsource = "order"\ntype = "{type}"\n'
    return head + (f'topic = "{topic}"\n' if topic else "\n") + text + "\n"


def read(*rules: str) -> RouteFile:
    return RouteFile.read(PUBLISHED + "".join(rules), "routes.toml")


def routes(*rules: str) -> Routes:
    return read(*rules).usable()


def sent(project: str | None) -> dict[str, Any]:
    """What leaves of a completed order by a rule with this projection."""
    text = rule(f"project = {json.dumps(project)}" if project else "")
    decision = routes(text).decide(CloudEvent.model_validate(event()))
    assert decision.data
    return decision.data


def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
    """`python -m services.adapter routes …`, in this process."""
    return CliRunner().invoke(cli, ["routes", *arguments], input=stdin, env=env)


# The file as it is shipped


def test_the_shipped_file_has_neither_errors_nor_warnings() -> None:
    """It is what everybody starts from."""
    file = RouteFile.open(RoutesSettings().routes_file)
    assert (file.errors, file.warnings) == ([], [])


PRODUCERS: dict[str, type[DomainEvent]] = {"order": OrderEvent, "scm": FulfilmentEvent}


@pytest.mark.parametrize("source", PRODUCERS)
def test_the_shipped_schema_is_of_the_events_that_there_are(source: str) -> None:
    """A new event, or a renamed field, is noticed here and not by a consumer that waits for it."""
    schema = read_routes(RoutesSettings().routes_file).schema
    for event_type in PRODUCERS[source].__subclasses__():
        published = schema[source, event_type.event_type]
        properties = event_type.model_json_schema()
        assert_has(properties, properties["properties"]["source"], published.shape)


def assert_has(document: Any, described: Any, shape: Shape) -> None:
    """That a JSON schema describes values which have the shape."""
    [described] = [each for each in described.get("anyOf", [described]) if each.get("type") != "null"]
    if reference := described.get("$ref"):
        described = document["$defs"][reference.rpartition("/")[2]]
    match shape:
        case dict():
            for name in shape:
                assert_has(document, described["properties"][name], shape[name])
        case ListOf(item):
            assert_has(document, described["items"], item)
        case _:
            assert described["type"] not in ("object", "array")


# What is wrong with a file


WRONG = """\
[published.order]
OrderCompleted = ["id", "version", "order lines"]
OrderCancelled = ["id", "version", "status"]

[[route]]
id = "typo"
source = "order"
type = "OrderCancelled"
topik = "order-events"
when = "sorce.completedAt && lenght(source.memo) > `0`"
project = "source.{id: id, verison: version, memo: memo}"

[[route]]
id = "typo"
type = 3
hold_back = true
topic = "order-events"

[routing]
"""


def test_every_error_is_told_at_once() -> None:
    """With its line, its rule, its key, the reason, and a hint where something looks mistyped."""
    found = RouteFile.read(WRONG, "routes.toml")
    assert found.routes is None
    told = [f"{error.line}: {error}" for error in found.errors]
    schema = "the published schema of order OrderCancelled"
    assert told == [
        "2: key published.order.OrderCompleted: 'order lines' is no field; "
        "write id, orderLines[].sku, tags[]",
        "9: rule typo, key topik: there is no such key; did you mean topic?",
        "10: rule typo, key when: the event has no sorce; did you mean source?",
        "10: rule typo, key when: JMESPath has no function lenght(); did you mean length?",
        f"11: rule typo, key project: source.memo is not in {schema}; "
        'to let it leave, add "memo" to the published fields of order OrderCancelled',
        f"11: rule typo, key project: source.verison is not in {schema}; did you mean version?",
        "13: rule typo, key source: is missing",
        "13: rule typo: needs either a topic or hold_back = true",
        "14: rule typo, key id: is the id of the rule in line 5 too",
        "15: rule typo, key type: input should be a valid string",
        "19: key routing: there is no such table; did you mean route?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[route]", "1: not TOML: Expected ']]' at the end of an array declaration (at line 1, column 8)"),
        ("x = " + "[" * 5_000, "1: not TOML: "),
        ("", "1: key route: there is no rule; a rule is a table [[route]]"),
        ("route = [3]", "1: rule 1: a rule is a table [[route]]"),
        ("published = 3", "1: key published: must be a table"),
        ("[published]\norder = 3", "2: key published.order: must be a table"),
        (
            '[published.order]\nA = "id"',
            "2: key published.order.A: must be a list of fields",
        ),
        (
            '[published.order]\nA = ["status"]',
            "2: key published.order.A: id is missing",
        ),
        (
            '[published.order]\nA = ["id", "a.b", "a[].c"]',
            "2: key published.order.A: a[].c contradicts",
        ),
        ('[published.order]\nA = ["id", "a.b", "a"]', "2: key published.order.A: a contradicts"),
        (rule("", id="no-route"), "2: rule no-route, key id: is taken for events that no rule names"),
        (rule("", id=""), "2: rule 1, key id: string should have at least 1 character"),
        (rule("hold_back = true"), "1: rule a: needs either a topic or hold_back = true"),
        (rule("", topic=None), "1: rule a: needs either a topic or hold_back = true"),
        (
            rule("hold_back = true\nproject = 'x'", topic=None),
            "7: rule a, key project: a rule that",
        ),
        (
            rule("hold_bak = true", topic=None),
            "6: rule a, key hold_bak: there is no such key; did you mean",
        ),
        (rule("when = 3"), "6: rule a, key when: must be text"),
        (rule("when = 'source.['"), "6: rule a, key when: not JMESPath: "),
        (
            rule("when = 'lenght(source)'"),
            "6: rule a, key when: JMESPath has no function lenght(); did",
        ),
        (rule("when = 'length(source, source)'"), "6: rule a, key when: length() cannot take 2 arguments"),
        (rule(f"when = '{'!' * 1_000}a'"), "6: rule a, key when: is nested too deeply"),
        (rule(f"when = '{'a|' * 900}a'"), "6: rule a, key when: is nested too deeply"),
        (rule(f"when = '{'a' * 2_001}'"), "6: rule a, key when: has 2001 characters; 2000 are the limit"),
        (
            rule(f"when = '{'[@,@][]|' * 10}@'"),
            "6: rule a, key when: could make more than 1000 times",
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(text: str, said: str) -> None:
    """Whatever the file is, reading it raises nothing."""
    found = RouteFile.read(text, "routes.toml")
    assert found.routes is None
    assert any(f"{error.line}: {error}".startswith(said) for error in found.errors), found.errors


def test_what_is_wrong_with_one_key_hides_nothing_of_the_others() -> None:
    """A rule that cannot be used is still read as far as it can be."""
    found = read(rule("when = 3\nproject = 'source.{id: id, memo: memo}'"))
    assert [error.key for error in found.errors] == ["when", "project"]


@pytest.mark.parametrize(
    ("project", "reason", "hint"),
    [
        (
            "source.{id: id, status: buyer.phoneNumber}",
            "source.buyer.phoneNumber is not in the published schema of order OrderCompleted",
            'to let it leave, add "buyer.phoneNumber" to the published fields of order OrderCompleted',
        ),
        (
            "source.{id: id, orderLines: orderLine[].{sku: sku}}",
            "source.orderLine[].sku is not in the published schema of order OrderCompleted",
            "did you mean orderLines?",
        ),
        (
            "source.{id: id, orderLines: orderLines[].{sku: sku, price: quantity}}",
            "source.orderLines[].price is not in the published schema of order OrderCompleted",
            'to let it leave, add "orderLines[].price" to the published fields of order OrderCompleted',
        ),
        (
            "source.{id: id, orderLines: orderLines[?unitPrice > `1`].{sku: sku}}",
            "source.orderLines[].unitPrice is not in the published schema of order OrderCompleted",
            'to let it leave, add "orderLines[].unitPrice" to the published fields of order OrderCompleted',
        ),
        (
            "source.{id: id, status: orderLines.sku}",
            "source.orderLines is a list",
            "write source.orderLines[].sku",
        ),
        ("source.{id: id.x}", "source.id is a plain value and has no x", None),
        (
            "source.{id: id, status: {a: id}}",
            "what project makes as source.status is not what the published schema has there",
            None,
        ),
        ("source.{status: status}", "project makes no id, which is the aggregate's", None),
        ("source.id", "project makes no object", "write source.{id: id, …}"),
        ("{id: sorce.id}", "the event has no sorce", "did you mean source?"),
    ],
)
def test_a_projection_is_held_against_the_published_schema(
    project: str, reason: str, hint: str | None
) -> None:
    """What it reads and what it makes, before there is an event."""
    [error] = read(rule(f"project = {json.dumps(project)}")).errors
    assert (error.line, error.rule, error.key) == (10, "a", "project")
    assert (error.reason, error.hint) == (reason, hint)


def test_an_event_of_which_nothing_is_published_cannot_leave() -> None:
    """The hint is the line to write."""
    memos = rule("project = 'source.{id: id, version: version, memo: memo}'", type="MemoWritten")
    [error] = read(memos).errors
    assert error.reason == "nothing of order MemoWritten is published, so it has no topic"
    assert error.hint == (
        'to let it leave, write in [published.order]: MemoWritten = ["id", "version", "memo"]'
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """RoutesInvalid, not a stack trace."""
    with pytest.raises(RoutesInvalid, match=r"nowhere\.toml: No such file"):
        read_routes(tmp_path / "nowhere.toml")


# What is strange in a file


UNCONDITIONAL = rule("", id="all")
PAID = rule("when = 'source.completedAt'", id="paid")


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        (
            [UNCONDITIONAL, PAID],
            "rule paid: never reached: rule all in line 5 decides about every such event",
        ),
        (
            [PAID, rule("when = ' source . completedAt '", id="paid-again")],
            "rule paid-again: never reached: rule paid in line 5 has the same condition",
        ),
        (
            [rule("hold_back = true", type="OrderCompletd", topic=None)],
            "rule a: nobody publishes order OrderCompletd: it is not in [published.order]; "
            "did you mean OrderCompleted?",
        ),
        ([PAID, UNCONDITIONAL], None),
        ([UNCONDITIONAL, rule("", id="other", type="OrderCancelled")], None),
        ([PAID, rule("when = '!(source.completedAt)'\n", id="unpaid")], None),
    ],
)
def test_a_rule_to_which_no_event_comes_is_a_warning(rules: list[str], warning: str | None) -> None:
    """The file can be used all the same."""
    found = read(*rules)
    assert found.errors == []
    assert [str(each) for each in found.warnings] == ([warning] if warning else [])


# What can leave


def test_without_a_projection_the_published_fields_leave() -> None:
    """And nothing else: the aggregate has more, and so may the event."""
    assert sent(None) == {
        "source": {
            "id": "1",
            "version": 2,
            "status": "COMPLETED",
            "orderLines": [{"sku": "MUG-01", "quantity": 2}],
        },
        "occurenceOn": 1520393282506,
    }


@pytest.mark.parametrize(
    "project",
    [
        None,
        "source",
        "@.source",
        "merge(source, {id: source.id})",
        "source.{id: id, status: to_string(@)}",
        "source.{id: id, status: join('', map(&to_string(@), values(@)))}",
        "source.{id: id, status: to_string(*)}",
        "{id: source.id, status: to_string(@)}",
        "{id: source.id, status: to_string(values(@))}",
        "source.{id: id, orderLines: orderLines[*].{sku: to_string(@)}}",
        "[source][0]",
        "source | @",
    ],
)
def test_a_projection_sees_only_what_is_published(project: str | None) -> None:
    """Whatever it makes of it, and under whatever name: no phone number leaves."""
    text = json.dumps(sent(project))
    assert not [private for private in PRIVATE if private in text]


@pytest.mark.parametrize(
    ("project", "outside"),
    [
        ('merge(source, `{"memo": 1}`)', "source.memo"),
        ("source.{id: id, status: not_null(orderLines)}", "source.status"),
        ('source.{id: id, orderLines: orderLines[*].merge(@, `{"x": 1}`)}', "source.orderLines[].x"),
    ],
)
def test_what_is_made_outside_the_schema_fails_its_event_alone(project: str, outside: str) -> None:
    """Where a function makes it, only the event shows it."""
    with pytest.raises(RouteFailed) as failed:
        sent(project)
    assert str(failed.value) == f"a: not in the published schema of order OrderCompleted: {outside}"


@pytest.mark.parametrize(
    ("fields", "aggregate", "reason"),
    [
        (["id", "buyer"], {"id": "1", "buyer": {"name": "Kim"}}, "source.buyer is an object; "),
        (["id", "tags"], {"id": "1", "tags": ["Kim"]}, "source.tags is a list; "),
        (["id", "tags[]"], {"id": "1", "tags": "Kim"}, "source.tags is a plain value; "),
        (["id", "tags[].a"], {"id": "1", "tags": ["Kim"]}, "source.tags[] is a plain value; "),
    ],
)
def test_an_aggregate_that_is_not_as_the_schema_says_fails_alone(
    fields: list[str], aggregate: dict[str, Any], reason: str
) -> None:
    """An object that was published as a plain value could hold anything. The reason holds no value."""
    published = f"[published.order]\nOrderCompleted = {json.dumps(fields)}\n"
    used = RouteFile.read(published + rule(""), "routes.toml").usable()
    given = event(data={"source": aggregate, "occurenceOn": 1})
    with pytest.raises(RouteFailed) as failed:
        used.decide(CloudEvent.model_validate(given))
    assert str(failed.value).startswith(f"a: {reason}the published schema has ")
    assert "Kim" not in str(failed.value)


def test_a_published_field_that_is_not_there_stays_away() -> None:
    """Null is a value like any other, and an aggregate may have grown a field that older events lack."""
    aggregate = {"id": "1", "status": None, "orderLines": None}
    given = event(data={"source": aggregate, "occurenceOn": 1, "more": "010-1234-5678"})
    data = routes(rule("")).decide(CloudEvent.model_validate(given)).data
    assert data == {"source": aggregate, "occurenceOn": 1}


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("abs(source.buyer.phoneNumber)", "a: abs() takes number, not string"),
        ("source.buyer.phoneNumber < `1`", "a: TypeError in source.buyer.phoneNumber < `1`"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_does_not_tell_what_it_read(when: str, reason: str) -> None:
    """Its event fails alone, and the reason is kept in logs and tables."""
    with pytest.raises(RouteFailed) as failed:
        routes(rule(f"when = '{when}'")).decide(CloudEvent.model_validate(event()))
    assert str(failed.value) == reason


# The command line


def test_check_prints_a_line_for_every_finding(tmp_path: Path) -> None:
    """As compilers do, so that editors find the place; the exit code is 1 for errors, 0 for warnings."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("check", str(file))
    assert ended.exit_code == 1
    lines = ended.stdout.splitlines()
    assert lines[1] == f"{file}:9: error: rule typo, key topik: there is no such key; did you mean topic?"
    assert lines[-1] == f"{file}: 11 errors, no warnings"

    file.write_text(PUBLISHED + UNCONDITIONAL + PAID)
    ended = run("check", str(file))
    assert ended.exit_code == 0
    assert f"{file}:11: warning: rule paid: never reached" in ended.stdout
    assert ended.stdout.endswith(f"{file}: no errors, 1 warning\n")


def test_check_as_json(tmp_path: Path) -> None:
    """The same for programs."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("check", str(file), "--json")
    found = json.loads(ended.stdout)
    assert (ended.exit_code, len(found["errors"]), found["warnings"]) == (1, 11, [])
    assert found["errors"][1] == {
        "line": 9,
        "rule": "typo",
        "key": "topik",
        "reason": "there is no such key",
        "hint": "did you mean topic?",
    }


def test_check_of_no_file_ends_with_2() -> None:
    """Nothing was checked."""
    ended = run("check", "nowhere.toml")
    assert (ended.exit_code, ended.stderr) == (2, "error: nowhere.toml: No such file or directory\n")


def test_check_without_a_file_reads_the_service_s_own() -> None:
    """The one that ROUTES_FILE names, or the one that is shipped."""
    ended = run("check")
    assert ended.exit_code == 0
    assert ended.stdout.endswith("services/adapter/routes.toml: no errors, no warnings\n")


# Explaining an event


RULES = (
    rule("when = 'source.completedAt'", id="paid"),
    rule("", id="cancelled", type="OrderCancelled"),
    rule("hold_back = true", id="rest", topic=None),
    rule("when = 'source.status'", id="late"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.toml"
    path.write_text(PUBLISHED + "".join(RULES))
    return path


def test_an_explanation_says_why_each_rule_matched_or_not() -> None:
    """In the order of the file; the first that matches decides."""
    told = explain(routes(*RULES), CloudEvent.model_validate(event()))
    assert (told.decision, told.rule, told.outgoing) == ("held_back", "rest", None)
    assert [(each.rule, each.matched, each.reason) for each in told.considered] == [
        ("paid", False, "its condition does not hold: source.completedAt"),
        ("cancelled", False, "is for order OrderCancelled"),
        ("rest", True, "is for every order OrderCompleted"),
        ("late", False, "not asked: rest decided"),
    ]


def test_an_explanation_shows_what_goes_out_and_what_stays() -> None:
    """Headers and body as SNS would be given them; of what stays, only the names."""
    used = routes(rule("project = 'source.{id: id, status: status}'"))
    told = explain(used, CloudEvent.model_validate(event()))
    assert (told.decision, told.topic) == ("forwarded", "order-events")
    assert told.outgoing
    assert told.outgoing.headers["ce-type"] == "OrderCompleted"
    assert told.outgoing.body["source"] == {"id": "1", "status": "COMPLETED"}
    assert {"source.version", "source.buyer.phoneNumber", "source.orderLines[].sku"} <= set(told.dropped)
    assert not [private for private in PRIVATE if private in told.model_dump_json()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("when = 'abs(source.status)'", "its condition failed: abs() takes number, not string"),
        ("project = 'not_null(source, source)'", "is for every order OrderCompleted"),
    ],
)
def test_an_explanation_of_a_failure_names_its_rule(text: str, reason: str) -> None:
    """As the bridge would answer it."""
    given = event(subject="2") if "project" in text else event()
    told = explain(routes(rule(text), rule("", id="next")), CloudEvent.model_validate(given))
    assert (told.decision, told.rule, told.outgoing) == ("failed", "a", None)
    assert told.error
    assert told.error.startswith("a: ")
    assert told.considered[0].reason == reason
    assert told.considered[1].reason.startswith("not asked: a ")


def test_an_event_over_the_limit_of_sns_is_told_to_fail() -> None:
    """By its size as it would leave."""
    lines = [{"sku": "x" * 1000, "quantity": 1}] * 250
    large = event(data={"source": {"id": "1", "orderLines": lines}, "occurenceOn": 1})
    told = explain(routes(rule("")), CloudEvent.model_validate(large))
    assert (told.decision, told.rule, told.outgoing) == ("failed", "a", None)
    assert told.error
    assert "the limit is" in told.error


def test_explain_on_the_command_line(tmp_path: Path, file: Path) -> None:
    """An event from a file or from standard input, for people and for programs."""
    given = tmp_path / "event.json"
    given.write_text(json.dumps(event("OrderCancelled")))
    ended = run("explain", str(given), "--routes", str(file))
    assert ended.exit_code == 0
    assert "forwarded to order-events by rule cancelled\n" in ended.stdout
    assert "· paid: is for order OrderCompleted\n" in ended.stdout
    assert "✓ cancelled: is for every order OrderCancelled\n" in ended.stdout
    assert "  ce-type: OrderCancelled\n" in ended.stdout
    assert "stays here\n  source.version\n" in ended.stdout

    ended = run("explain", "-", "--routes", str(file), "--json", stdin=json.dumps(event()))
    told = json.loads(ended.stdout)
    assert (ended.exit_code, told["decision"], told["rule"]) == (0, "held_back", "rest")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (json.dumps(event("OrderCancelled", subject="2")), 1, ""),
        (json.dumps(event(id="")), 2, "error: -: not a CloudEvent: id: String should have at least 1"),
        ("no JSON", 2, "error: -: not a CloudEvent: : Invalid JSON"),
    ],
)
def test_explain_ends_with_a_code_that_tells(file: Path, given: str, code: int, said: str) -> None:
    """1 for an event that would fail, 2 for what is no event."""
    ended = run("explain", "-", "--routes", str(file), stdin=given)
    assert ended.exit_code == code
    assert ended.stderr.startswith(said)


def test_explain_wants_to_know_which_event() -> None:
    """Neither a file nor an order is no question."""
    ended = run("explain")
    assert (ended.exit_code, ended.stderr) == (
        2,
        "error: name a file with a CloudEvent, - for standard input, or --order ID\n",
    )


# Trying a changed file


def tried(before: Sequence[str], after: Sequence[str], *events: dict[str, Any]) -> DryRun:
    given = [CloudEvent.model_validate(each) for each in events]
    return dry_run(routes(*before), routes(*after), given)


def test_a_dry_run_tells_what_would_go_another_way() -> None:
    """Per event, and in numbers; what would stay as it is is counted only."""
    told = tried(RULES, [RULES[1], rule("", id="all")], event(), event("OrderCancelled"), event())
    assert len(told.changes) == 2
    before, after = told.changes[0].before, told.changes[0].after
    assert (before.decision, before.rule, before.topic) == ("held_back", "rest", None)
    assert (after.decision, after.rule, after.topic) == ("forwarded", "all", "order-events")
    assert told.counts
    assert told.counts.model_dump() == {
        "events": 3,
        "changed": 2,
        "before": {"forwarded": 1, "held_back": 2, "failed": 0},
        "after": {"forwarded": 3, "held_back": 0, "failed": 0},
    }


def test_a_dry_run_tells_what_would_leave_with_other_content() -> None:
    """By the names of the fields: added, removed, changed. No value is told."""
    before = rule("project = 'source.{id: id, status: status, version: version}'")
    after = rule("project = 'source.{id: id, status: id, orderLines: orderLines[].{sku: sku}}'")
    [change] = tried([before], [after], event()).changes
    assert change.added == ["source.orderLines[].sku"]
    assert change.removed == ["source.version"]
    assert change.changed == ["source.status"]


def test_a_dry_run_tells_what_would_fail() -> None:
    """Before it does."""
    after = rule("when = 'abs(source.status)'")
    [change] = tried([rule("")], [after], event()).changes
    assert change.after.decision == "failed"
    assert change.after.error == "a: abs() takes number, not string"
    assert change.removed == [
        "source.id",
        "source.version",
        "source.status",
        "source.orderLines[].sku",
        "source.orderLines[].quantity",
    ]


# With the real event logs


@pytest.fixture
async def desk(aws_url: str, order: Served, scm: Served) -> AsyncIterator[Served]:
    """An adapter that knows where the services are; they send their events to another one."""
    settings = Settings(
        environment="development", aws_endpoint_url=aws_url, order_url=order.url, scm_url=scm.url
    )
    async with serving(create_app(settings)) as served:
        yield served


SHIPPED = RoutesSettings().routes_file.read_text()
MEMOS_LEAVE = SHIPPED.replace("MemoWritten = []", 'MemoWritten = ["id", "memo"]').replace(
    'type = "MemoWritten"\nhold_back = true', 'type = "MemoWritten"\ntopic = "order-events"'
)


async def order_with_a_memo(order: Served, scm: Served) -> str:
    """The id of an order that was completed, and that SCM prepares."""
    await stock(scm, **{"MUG-01": 10})
    order_id = await completed_order(order, **{"MUG-01": 2})
    await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})
    await eventually(partial(status_is, order, order_id, "PREPARING"))
    return order_id


async def test_what_really_happened_is_explained_and_tried(
    silence: None, order: Served, scm: Served, desk: Served, tmp_path: Path
) -> None:
    """On the command line and by the API, with the events that both services have in their logs."""
    order_id = await order_with_a_memo(order, scm)
    file = tmp_path / "changed.toml"
    file.write_text(MEMOS_LEAVE)

    def command(*arguments: str) -> Awaitable[Result]:
        environment = {"ORDER_URL": order.url, "SCM_URL": scm.url}
        return asyncio.to_thread(run, *arguments, env=environment)  # it has a loop of its own

    for event_type, decision, rule_id in (
        ("MemoWritten", "held_back", "memos-stay-here"),
        ("StockReserved", "forwarded", "stock-to-order"),
    ):
        ended = await command("explain", "--order", order_id, "--type", event_type, "--json")
        told = json.loads(ended.stdout)
        assert (told["decision"], told["rule"]) == (decision, rule_id)
    ended = await command("explain", "--order", order_id, "--event", "none")
    assert (ended.exit_code, ended.stderr) == (
        2,
        f"error: neither service has published an event none of order {order_id}\n",
    )

    ended = await command("dry-run", str(file), "--json")
    tried = json.loads(ended.stdout)
    [change] = tried["changes"]
    assert ended.exit_code == 1
    assert (change["type"], change["orderId"]) == ("MemoWritten", order_id)
    assert (change["before"]["rule"], change["after"]["topic"]) == ("memos-stay-here", "order-events")
    assert (change["added"], change["removed"]) == (["source.id", "source.memo"], [])
    assert tried["counts"]["changed"] == 1
    answer = await desk.http.post("/api/routes/dry-run", json={"toml": MEMOS_LEAVE}, headers=OPERATOR)
    assert answer.json() == tried

    ended = await command("dry-run", str(file))
    assert "order MemoWritten  held back" in ended.stdout
    assert f"1 of {tried['counts']['events']} events would change; forwarded " in ended.stdout
    ended = await command("dry-run", str(RoutesSettings().routes_file), "--last", "1")
    assert ended.exit_code == 0
    assert ended.stdout.startswith("0 of 1 events would change")


async def test_without_the_services_nothing_is_tried(tmp_path: Path, file: Path) -> None:
    """It says which one is away; the exit code is 2."""
    away = {"ORDER_URL": "http://127.0.0.1:1", "SCM_URL": "http://127.0.0.1:1"}
    ended = await asyncio.to_thread(run, "dry-run", str(file), env=away)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: order at http://127.0.0.1:1: ")


def test_a_file_with_errors_is_not_tried(tmp_path: Path) -> None:
    """Its errors are told, a line each; the exit code is 2."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("dry-run", str(file))
    assert (ended.exit_code, len(ended.stderr.splitlines())) == (2, 11)


# Over the API


@pytest.fixture(scope="module")
async def lone_adapter() -> AsyncIterator[Served]:
    """Alone: neither SNS nor the services are there."""
    nobody = "http://127.0.0.1:1"
    settings = Settings(environment="development", aws_endpoint_url=nobody, order_url=nobody, scm_url=nobody)
    async with serving(create_app(settings)) as served:
        yield served


async def test_the_rules_can_be_read(lone_adapter: Served) -> None:
    """As the file has them, with the published schema."""
    told = (await lone_adapter.http.get("/api/routes")).json()
    assert told["routes"][0]["id"] == "completed-orders-to-scm"
    assert told["routes"][0]["project"].startswith("source.{id: id")
    assert told["routes"][0]["holdBack"] is False
    assert told["published"]["order"]["MemoWritten"] == []
    assert told["warnings"] == []


async def test_an_event_is_explained_over_the_api(lone_adapter: Served) -> None:
    """Whatever characters it has in it."""
    given = event()
    given["data"]["source"]["orderLines"][0]["sku"] = "\ud800"
    json_of = {"content-type": "application/json"}
    told = (
        await lone_adapter.http.post("/api/routes/explain", content=json.dumps(given), headers=json_of)
    ).json()
    assert (told["decision"], told["rule"]) == ("forwarded", "completed-orders-to-scm")
    assert told["outgoing"]["body"]["source"]["orderLines"] == [{"sku": "\ud800", "quantity": 2}]
    assert "source.buyer.phoneNumber" in told["dropped"]


async def test_a_file_with_errors_is_not_tried_over_the_api(lone_adapter: Served) -> None:
    """Its errors are the answer."""
    answer = await lone_adapter.http.post("/api/routes/dry-run", json={"toml": WRONG}, headers=OPERATOR)
    told = answer.json()
    assert (answer.status_code, len(told["errors"]), told["changes"], told["counts"]) == (200, 11, [], None)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("explain", {"id": "1"}, {}, 422),
        ("dry-run", {"toml": SHIPPED}, {}, 401),
        ("dry-run", {"toml": "#" * 40_000}, OPERATOR, 422),
        ("dry-run", {"toml": SHIPPED, "last": 1_001}, OPERATOR, 422),
        ("dry-run", {"toml": SHIPPED}, OPERATOR, 503),
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_problem(
    lone_adapter: Served, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    """No event, no token, too much of a file, too many events, no event log."""
    answer = await lone_adapter.http.post(f"/api/routes/{path}", json=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
