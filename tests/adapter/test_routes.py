"""Routes: the route file with its errors and warnings, decisions, explanations and dry runs."""

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
from services.adapter.routes import Decision, RouteFile, Routes, RoutesInvalid, read_routes
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
"""Values of the aggregate of `event` that must not leave."""


def rule(
    text: str, *, id: str = "a", type: str = "OrderCompleted", topic: str | None = "order-events"
) -> str:
    """A rule of six lines without its text."""
    head = f'[[route]]\nid = "{id}"\nsource = "order"\ntype = "{type}"\n'
    return head + (f'topic = "{topic}"\n' if topic else "\n") + text + "\n"


def read(*rules: str) -> RouteFile:
    return RouteFile.parse(PUBLISHED + "".join(rules), "routes.toml")


def routes(*rules: str) -> Routes:
    return read(*rules).usable()


def decide(used: Routes, event: dict[str, Any]) -> Decision:
    return used.evaluate(CloudEvent.model_validate(event))


def body(decision: Decision) -> Any:
    """The domain event that leaves."""
    assert decision.outgoing, decision.error
    return json.loads(decision.outgoing.message.payload)


def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
    """`python -m services.adapter routes …`, in this process."""
    return CliRunner().invoke(cli, ["routes", *arguments], input=stdin, env=env)


# The file as it is shipped


def test_the_shipped_file_has_neither_errors_nor_warnings() -> None:
    """It is the starting point of every other one."""
    file = RouteFile.open(RoutesSettings().routes_file)
    assert (file.errors, file.warnings) == ([], [])


PRODUCERS: dict[str, type[DomainEvent]] = {"order": OrderEvent, "scm": FulfilmentEvent}


@pytest.mark.parametrize("source", PRODUCERS)
def test_the_shipped_schema_matches_the_published_events(source: str) -> None:
    """A new event or a renamed field fails here and not at a consumer that waits for it."""
    schema = read_routes(RoutesSettings().routes_file).schema
    for event_type in PRODUCERS[source].__subclasses__():
        published = schema[source, event_type.event_type]
        properties = event_type.model_json_schema()
        assert_has(properties, properties["properties"]["source"], published.shape)


def assert_has(document: Any, described: Any, shape: Shape) -> None:
    """Assert that a JSON schema describes values which have the shape."""
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
project = "source.{id: id}"

[[route]]
id = "typo"
type = 3
hold_back = true
topic = "order-events"

[routing]
"""


def test_every_error_is_reported_at_once() -> None:
    """With its line, its rule, its key, the reason, and a hint where something looks mistyped."""
    found = RouteFile.parse(WRONG, "routes.toml")
    assert found.routes is None
    errors = [f"{error.line}: {error}" for error in found.errors]
    assert errors == [
        "2: key published.order.OrderCompleted: 'order lines' is no field; "
        "write id, orderLines[].sku, tags[]",
        "9: rule typo, key topik: there is no such key; did you mean topic?",
        "10: rule typo, key when: the event has no sorce; did you mean source?",
        "10: rule typo, key when: JMESPath has no function lenght(); did you mean length?",
        "11: rule typo, key project: there are no projections; "
        "remove it: the fields listed in [published.SERVICE] leave, and no others",
        "13: rule typo, key source: is missing",
        "13: rule typo: needs either a topic or hold_back = true",
        "14: rule typo, key id: is the id of the rule in line 5 too",
        "15: rule typo, key type: input should be a valid string",
        "19: key routing: there is no such table; did you mean route?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[route]", "1: not TOML: Expected ']]' at the end of an array declaration (at line 1, column 8)"),
        ("x = " + "[" * 5_000, "1: nested too deeply"),
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
        (rule("", id="no-route"), "2: rule no-route, key id: is reserved for events that match no rule"),
        (rule("", id=""), "2: rule 1, key id: string should have at least 1 character"),
        (rule("hold_back = true"), "1: rule a: needs either a topic or hold_back = true"),
        (rule("", topic=None), "1: rule a: needs either a topic or hold_back = true"),
        (
            rule("project = 'source.{id: id}'"),
            "6: rule a, key project: there are no projections; remove it",
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
        (rule(f"topic = {'9' * 5_000}", topic=None), "6: a number has too many digits"),
        (rule(f"topic = {'[' * 5_000}\n{']' * 5_000}", topic=None), "6: nested too deeply"),
        (rule(f"{'.'.join('a' * 5_000)} = 1"), "6: rule a, key a: there is no such key"),
        (rule(f"when.{'.'.join('a' * 5_000)} = 1"), "6: rule a, key when: must be text"),
        (rule(f"[{'.'.join('a' * 5_000)}]"), "6: key a: there is no such table"),
        (
            rule(f"[published.scm]\nX = ['id', '{'.'.join('a' * 5_000)}']"),
            "7: key published.scm.X: a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.… is nested too deeply; 20",
        ),
        (rule(f"when = '{'!' * 1_000}a'"), "6: rule a, key when: is nested too deeply"),
        (rule(f"when = '{'a|' * 900}a'"), "6: rule a, key when: is nested too deeply"),
        (rule(f"when = '{'a' * 2_001}'"), "6: rule a, key when: has 2001 characters; 2000 are the limit"),
        (
            rule(f"when = '{'[@,@][]|' * 10}@'"),
            "6: rule a, key when: could produce more than 1000 times",
        ),
        (
            rule(f"when = '{'to_string(' * 4}@{')' * 4}'"),
            "6: rule a, key when: could produce more than 1000 times",
        ),
        (
            rule(f"""when = "join('', source.orderLines[*].['{"a" * 1_500}'][])" """),
            "6: rule a, key when: could produce more than 1000 times",
        ),
        (
            rule(f"""when = "join('{"a" * 1_500}', source.orderLines[*].sku)" """),
            "6: rule a, key when: could produce more than 1000 times",
        ),
        (
            rule("when = 'join(source.memo, source.orderLines[*].sku)'"),
            "6: rule a, key when: the separator of join() must be a literal",
        ),
    ],
)
def test_each_error_has_its_line(text: str, message: str) -> None:
    """Parsing raises nothing, whatever the file contains."""
    found = RouteFile.parse(text, "routes.toml")
    assert found.routes is None
    assert any(f"{error.line}: {error}".startswith(message) for error in found.errors), found.errors


def test_an_error_in_one_key_hides_none_of_the_others() -> None:
    """A rule with an error is still checked as far as possible."""
    found = read(rule("when = 3\ntopik = 'x'", type="MemoWritten"))
    assert [error.key for error in found.errors] == ["type", "when", "topik"]


@pytest.mark.parametrize(
    ("when", "reason", "hint"),
    [
        ("sorce.id", "the event has no sorce", "did you mean source?"),
        ("@.sorce", "the event has no sorce", "did you mean source?"),
        ("[source.id, @ | memo]", "the event has no memo", "it has source and occurenceOn"),
        ("{a: sorce}", "the event has no sorce", "did you mean source?"),
        ("occurenceOn.day", "occurenceOn is a plain value and has no day", None),
        ("source.lines[?lenght(@) > `1`]", "JMESPath has no function lenght()", "did you mean length?"),
        ("sort_by(source.lines, &abs(a, b))", "abs() cannot take 2 arguments", None),
    ],
)
def test_a_condition_is_checked_without_an_event(when: str, reason: str, hint: str | None) -> None:
    """Fields that no event has, and functions that JMESPath does not have."""
    [error] = read(rule(f"when = {json.dumps(when)}")).errors
    assert (error.line, error.key, error.reason, error.hint) == (10, "when", reason, hint)


@pytest.mark.parametrize(
    "when",
    [
        "source.sorce.anything[0].else",
        "source.lines[*].sorce",
        "source.lines[?sorce]",
        "sort_by(source.lines, &sorce)",
        "values(@)[0].sorce",
        "{a: source}.a",
        "[source][0].a | b",
        'source.*.a && `{"a": 1}`.b && source.lines[0:1]',
    ],
)
def test_a_condition_may_read_all_of_the_aggregate(when: str) -> None:
    """The adapter knows its published fields only, and a condition publishes nothing."""
    assert read(rule(f"when = {json.dumps(when)}")).errors == []


def test_an_event_without_published_fields_cannot_leave() -> None:
    """The hint is the line to write."""
    [error] = read(rule("", type="MemoWritten")).errors
    assert error.key == "type"
    assert error.reason == "nothing of order MemoWritten is published, so it has no topic"
    assert error.hint == 'to let it leave, list its fields in [published.order]: MemoWritten = ["id", …]'


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
            "rule a: no service publishes order OrderCompletd: it is not in [published.order]; "
            "did you mean OrderCompleted?",
        ),
        ([PAID, UNCONDITIONAL], None),
        ([UNCONDITIONAL, rule("", id="other", type="OrderCancelled")], None),
        ([PAID, rule("when = '!(source.completedAt)'\n", id="unpaid")], None),
    ],
)
def test_a_rule_that_is_never_reached_is_a_warning(rules: list[str], warning: str | None) -> None:
    """The file can be used all the same."""
    found = read(*rules)
    assert found.errors == []
    assert [str(each) for each in found.warnings] == ([warning] if warning else [])


# What can leave


def test_the_published_fields_leave_and_no_others() -> None:
    """The aggregate has more, and so may the event."""
    decision = decide(routes(rule("")), event())
    assert decision.outgoing
    assert not [private for private in PRIVATE if private in decision.outgoing.message.payload]
    assert body(decision) == {
        "source": {
            "id": "1",
            "version": 2,
            "status": "COMPLETED",
            "orderLines": [{"sku": "MUG-01", "quantity": 2}],
        },
        "occurenceOn": 1520393282506,
    }


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
    used = RouteFile.parse(published + rule(""), "routes.toml").usable()
    decision = decide(used, event(data={"source": aggregate, "occurenceOn": 1}))
    assert (decision.decision, decision.rule, decision.outgoing) == ("failed", "a", None)
    assert decision.error
    assert decision.error.startswith(f"a: {reason}the published schema has ")
    assert "Kim" not in decision.error


def test_a_published_field_that_is_missing_stays_missing() -> None:
    """Null is a value like any other, and an aggregate may have grown a field that older events lack."""
    aggregate = {"id": "1", "status": None, "orderLines": None}
    given = event(data={"source": aggregate, "occurenceOn": 1, "more": "010-1234-5678"})
    assert body(decide(routes(rule("")), given)) == {"source": aggregate, "occurenceOn": 1}


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("abs(source.buyer.phoneNumber)", "a: abs() takes number, not string"),
        ("source.buyer.phoneNumber < `1`", "a: TypeError in source.buyer.phoneNumber < `1`"),
    ],
)
def test_the_error_of_a_condition_contains_no_value(when: str, reason: str) -> None:
    """Its event fails alone, and the reason is stored in logs and tables."""
    decision = decide(routes(rule(f"when = '{when}'")), event())
    assert (decision.decision, decision.rule, decision.error) == ("failed", "a", reason)


# The command line


def test_check_prints_a_line_for_every_finding(tmp_path: Path) -> None:
    """As compilers do, so that editors find the place; the exit code is 1 for errors, 0 for warnings."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("check", str(file))
    assert ended.exit_code == 1
    lines = ended.stdout.splitlines()
    assert lines[1] == f"{file}:9: error: rule typo, key topik: there is no such key; did you mean topic?"
    assert lines[-1] == f"{file}: 10 errors, no warnings"

    file.write_text(PUBLISHED + UNCONDITIONAL + PAID)
    ended = run("check", str(file))
    assert ended.exit_code == 0
    assert f"{file}:11: warning: rule paid: never reached" in ended.stdout
    assert ended.stdout.endswith(f"{file}: no errors, 1 warning\n")


def test_check_as_json(tmp_path: Path) -> None:
    """The same as JSON."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("check", str(file), "--json")
    found = json.loads(ended.stdout)
    assert (ended.exit_code, len(found["errors"]), found["warnings"]) == (1, 10, [])
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


def test_an_explanation_has_the_reason_of_each_rule() -> None:
    """In the order of the file; the first that matches decides."""
    explained = explain(routes(*RULES), CloudEvent.model_validate(event()))
    assert (explained.decision, explained.rule, explained.outgoing) == ("held_back", "rest", None)
    assert [(each.rule, each.matched, each.reason) for each in explained.considered] == [
        ("paid", False, "its condition does not hold: source.completedAt"),
        ("cancelled", False, "is for order OrderCancelled"),
        ("rest", True, "is for every order OrderCompleted"),
        ("late", False, "not evaluated: rest decided"),
    ]


def test_an_explanation_has_the_message_and_the_dropped_fields() -> None:
    """Headers and body as they are published; of the other fields, only the names."""
    used = routes(rule("", type="OrderCancelled"))
    explained = explain(used, CloudEvent.model_validate(event("OrderCancelled")))
    assert (explained.decision, explained.topic) == ("forwarded", "order-events")
    assert explained.outgoing
    assert explained.outgoing.headers["ce-type"] == "OrderCancelled"
    assert explained.outgoing.body["source"] == {"id": "1", "status": "COMPLETED"}
    assert {"source.version", "source.buyer.phoneNumber", "source.orderLines[].sku"} <= set(explained.dropped)
    assert not [private for private in PRIVATE if private in explained.model_dump_json()]


@pytest.mark.parametrize(
    ("given", "text", "reason"),
    [
        (event(), "when = 'abs(source.status)'", "its condition failed: abs() takes number, not string"),
        (event(subject="2"), "", "is for every order OrderCompleted"),
    ],
)
def test_an_explanation_of_a_failure_names_its_rule(given: Any, text: str, reason: str) -> None:
    """As the bridge would answer it."""
    explained = explain(routes(rule(text), rule("", id="next")), CloudEvent.model_validate(given))
    assert (explained.decision, explained.rule, explained.outgoing) == ("failed", "a", None)
    assert explained.error
    assert explained.error.startswith("a: ")
    assert explained.considered[0].reason == reason
    assert explained.considered[1].reason.startswith("not evaluated: a ")


def test_an_explanation_of_an_event_over_the_limit_of_sns() -> None:
    """It fails by the size of its message."""
    lines = [{"sku": "x" * 1000, "quantity": 1}] * 250
    large = event(data={"source": {"id": "1", "orderLines": lines}, "occurenceOn": 1})
    explained = explain(routes(rule("")), CloudEvent.model_validate(large))
    assert (explained.decision, explained.rule, explained.outgoing) == ("failed", "a", None)
    assert explained.error
    assert "the limit is" in explained.error


def test_explain_on_the_command_line(tmp_path: Path, file: Path) -> None:
    """An event from a file or from standard input, as text and as JSON."""
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
    explained = json.loads(ended.stdout)
    assert (ended.exit_code, explained["decision"], explained["rule"]) == (0, "held_back", "rest")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (json.dumps(event("OrderCancelled", subject="2")), 1, ""),
        (json.dumps(event(id="")), 2, "error: -: not a CloudEvent: id: String should have at least 1"),
        ("no JSON", 2, "error: -: not a CloudEvent: : Invalid JSON"),
    ],
)
def test_the_exit_code_of_explain(file: Path, text: str, code: int, message: str) -> None:
    """1 for an event that would fail, 2 for anything that is not an event."""
    ended = run("explain", "-", "--routes", str(file), stdin=text)
    assert ended.exit_code == code
    assert ended.stderr.startswith(message)


def test_explain_needs_an_event() -> None:
    """A file, standard input or an order."""
    ended = run("explain")
    assert (ended.exit_code, ended.stderr) == (
        2,
        "error: name a file with a CloudEvent, - for standard input, or --order ID\n",
    )


# Trying a changed file


def tried(before: Sequence[str], after: Sequence[str], *events: dict[str, Any]) -> DryRun:
    given = [CloudEvent.model_validate(each) for each in events]
    return dry_run(routes(*before), routes(*after), given)


def test_a_dry_run_lists_events_that_are_decided_differently() -> None:
    """With totals; events without a change are only counted."""
    found = tried(RULES, [RULES[1], rule("", id="all")], event(), event("OrderCancelled"), event())
    assert len(found.changes) == 2
    before, after = found.changes[0].before, found.changes[0].after
    assert (before.decision, before.rule, before.topic) == ("held_back", "rest", None)
    assert (after.decision, after.rule, after.topic) == ("forwarded", "all", "order-events")
    assert found.counts
    assert found.counts.model_dump() == {
        "events": 3,
        "changed": 2,
        "before": {"forwarded": 1, "held_back": 2, "failed": 0},
        "after": {"forwarded": 3, "held_back": 0, "failed": 0},
    }


def test_a_dry_run_lists_changes_of_content() -> None:
    """By the names of the fields that are added and removed, without their values."""
    changed = PUBLISHED.replace('"version", "status", "orderLines[].sku"', '"memo", "status"')
    after = RouteFile.parse(changed + rule(""), "changed.toml").usable()
    given = event()
    given["data"]["source"]["memo"] = "ring twice"
    [change] = dry_run(routes(rule("")), after, [CloudEvent.model_validate(given)]).changes
    assert change.added == ["source.memo"]
    assert change.removed == ["source.version", "source.orderLines[].sku"]


def test_a_dry_run_lists_failures() -> None:
    """With the error that the changed rule would cause."""
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
    """An adapter that reads the services' event logs; they send their events to another one."""
    settings = Settings(
        environment="development", aws_endpoint_url=aws_url, order_url=order.url, scm_url=scm.url
    )
    async with serving(create_app(settings)) as served:
        yield served


SHIPPED = RoutesSettings().routes_file.read_text()
PLACED_LEAVE = SHIPPED.replace("OrderPlaced = []", 'OrderPlaced = ["id", "status"]').replace(
    'type = "OrderPlaced"\nhold_back = true', 'type = "OrderPlaced"\ntopic = "order-events"'
)


async def prepared_order(order: Served, scm: Served) -> str:
    """Return the id of a completed order that SCM prepares."""
    await stock(scm, **{"MUG-01": 10})
    order_id = await completed_order(order, **{"MUG-01": 2})
    await eventually(partial(status_is, order, order_id, "PREPARING"))
    return order_id


async def test_recorded_events_are_explained_and_tried(
    silence: None, order: Served, scm: Served, desk: Served, tmp_path: Path
) -> None:
    """On the command line and over the API, with the events in the logs of both services."""
    order_id = await prepared_order(order, scm)
    file = tmp_path / "changed.toml"
    file.write_text(PLACED_LEAVE)

    def command(*arguments: str) -> Awaitable[Result]:
        environment = {"ORDER_URL": order.url, "SCM_URL": scm.url, "ADAPTER_URL": desk.url}
        return asyncio.to_thread(run, *arguments, env=environment)  # it has a loop of its own

    for event_type, decision, rule_id in (
        ("OrderPlaced", "held_back", "placed-is-not-paid"),
        ("StockReserved", "forwarded", "stock-to-order"),
    ):
        ended = await command("explain", "--order", order_id, "--type", event_type, "--json")
        explained = json.loads(ended.stdout)
        assert (explained["decision"], explained["rule"]) == (decision, rule_id)
    ended = await command("explain", "--order", order_id, "--event", "none")
    assert (ended.exit_code, ended.stderr) == (
        2,
        f"error: neither service has published an event none of order {order_id}\n",
    )

    ended = await command("dry-run", str(file), "--json")
    tried = json.loads(ended.stdout)
    [change] = tried["changes"]
    assert ended.exit_code == 1
    assert (change["type"], change["orderId"]) == ("OrderPlaced", order_id)
    assert (change["before"]["rule"], change["after"]["topic"]) == ("placed-is-not-paid", "order-events")
    assert (change["added"], change["removed"]) == (["source.id", "source.status"], [])
    assert tried["counts"]["changed"] == 1
    answer = await desk.http.post("/api/routes/dry-run", json={"toml": PLACED_LEAVE}, headers=OPERATOR)
    assert answer.json() == tried

    ended = await command("dry-run", str(file))
    assert "order OrderPlaced  held back" in ended.stdout
    assert f"1 of {tried['counts']['events']} events would change; forwarded " in ended.stdout
    ended = await command("dry-run", str(RoutesSettings().routes_file), "--last", "1")
    assert ended.exit_code == 0
    assert ended.stdout.startswith("0 of 1 events would change")
    other = ("--routes", str(file))
    assert json.loads((await command("dry-run", str(file), *other, "--json")).stdout)["changes"] == []
    assert (await command("dry-run", str(RoutesSettings().routes_file), *other)).exit_code == 1


async def test_a_file_that_was_changed_in_place_is_compared_with_the_running_routes(
    silence: None, aws_url: str, order: Served, scm: Served, tmp_path: Path
) -> None:
    """The adapter was started with the former content of the same file."""
    await prepared_order(order, scm)
    file = tmp_path / "routes.toml"
    file.write_text(SHIPPED)
    settings = Settings(
        environment="development",
        aws_endpoint_url=aws_url,
        order_url=order.url,
        scm_url=scm.url,
        routes_file=file,
    )
    async with serving(create_app(settings)) as adapter:
        file.write_text(PLACED_LEAVE)
        environment = {"ADAPTER_URL": adapter.url, "ROUTES_FILE": str(file)}
        ended = await asyncio.to_thread(run, "dry-run", str(file), "--json", env=environment)
    assert ended.exit_code == 1
    assert [each["type"] for each in json.loads(ended.stdout)["changes"]] == ["OrderPlaced"]


AWAY = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "error: adapter at http://127.0.0.1:1: "),
        (("--routes", str(RoutesSettings().routes_file)), "error: order at http://127.0.0.1:1: "),
    ],
)
async def test_without_the_services_nothing_is_tried(
    file: Path, options: tuple[str, ...], reason: str
) -> None:
    """The error names it; the exit code is 2."""
    away = {"ADAPTER_URL": AWAY, "ORDER_URL": AWAY, "SCM_URL": AWAY}
    ended = await asyncio.to_thread(run, "dry-run", str(file), *options, env=away)
    assert ended.exit_code == 2
    assert ended.stderr.startswith(reason)


async def test_a_wrong_token_tries_nothing(lone_adapter: Served, file: Path) -> None:
    """The adapter's reason is printed; the exit code is 2."""
    environment = {"ADAPTER_URL": lone_adapter.url, "OPERATOR_TOKEN": "token-of-another-system"}
    ended = await asyncio.to_thread(run, "dry-run", str(file), env=environment)
    assert (ended.exit_code, ended.stderr) == (2, "error: adapter: Unknown token\n")


def test_a_file_with_errors_is_not_tried(tmp_path: Path) -> None:
    """Its errors are printed, a line each; the exit code is 2."""
    file = tmp_path / "routes.toml"
    file.write_text(WRONG)
    ended = run("dry-run", str(file))
    assert (ended.exit_code, len(ended.stderr.splitlines())) == (2, 10)


# Over the API


@pytest.fixture(scope="module")
async def lone_adapter() -> AsyncIterator[Served]:
    """An adapter without SNS and without the services."""
    down = "http://127.0.0.1:1"
    settings = Settings(environment="development", aws_endpoint_url=down, order_url=down, scm_url=down)
    async with serving(create_app(settings)) as served:
        yield served


async def test_the_rules_can_be_read(lone_adapter: Served) -> None:
    """As the file has them, with the published schema."""
    found = (await lone_adapter.http.get("/api/routes")).json()
    assert found["routes"][0]["id"] == "completed-orders-to-scm"
    assert found["routes"][0]["topic"] == "order-events"
    assert found["routes"][0]["holdBack"] is False
    assert found["published"]["order"]["OrderPlaced"] == []
    assert found["warnings"] == []


async def test_an_event_is_explained_over_the_api(lone_adapter: Served) -> None:
    """With decision, rule, outgoing body and the fields that are dropped."""
    given = event()
    given["data"]["source"]["orderLines"][0]["sku"] = "\uffff"
    json_of = {"content-type": "application/json"}
    found = (
        await lone_adapter.http.post("/api/routes/explain", content=json.dumps(given), headers=json_of)
    ).json()
    assert (found["decision"], found["rule"]) == ("forwarded", "completed-orders-to-scm")
    assert found["outgoing"]["body"]["source"]["orderLines"] == [{"sku": "\uffff", "quantity": 2}]
    assert "source.buyer.phoneNumber" in found["dropped"]


async def test_events_are_evaluated_over_the_api(lone_adapter: Served) -> None:
    """As the bridge would decide, whether or not SNS is available; what is not an event fails alone."""
    events = [event(), event("OrderPlaced"), {"id": "\ud800"}, event(subject="2")]
    answer = await lone_adapter.http.post(
        "/api/routes/evaluate",
        content=json.dumps(events),
        headers=OPERATOR | {"content-type": "application/json"},
    )
    results = answer.json()["results"]
    assert [(each["id"], each["decision"], each["rule"], each["topic"]) for each in results] == [
        (events[0]["id"], "forwarded", "completed-orders-to-scm", "order-events"),
        (events[1]["id"], "held_back", "placed-is-not-paid", None),
        ("?", "failed", None, None),
        (events[3]["id"], "failed", "completed-orders-to-scm", None),
    ]
    assert [each["error"] and each["error"].partition(":")[0] for each in results] == [
        None,
        None,
        "not a CloudEvent",
        "completed-orders-to-scm",
    ]


async def test_a_file_with_errors_is_not_tried_over_the_api(lone_adapter: Served) -> None:
    """Its errors are the answer."""
    answer = await lone_adapter.http.post("/api/routes/dry-run", json={"toml": WRONG}, headers=OPERATOR)
    found = answer.json()
    assert (answer.status_code, len(found["errors"]), found["changes"], found["counts"]) == (
        200,
        10,
        [],
        None,
    )


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("explain", {"id": "1"}, {}, 422),
        ("evaluate", [], {}, 401),
        ("evaluate", {}, OPERATOR, 422),
        ("evaluate", [1] * 1_001, OPERATOR, 422),
        ("dry-run", {"toml": SHIPPED}, {}, 401),
        ("dry-run", {"toml": "#" * 40_000}, OPERATOR, 422),
        ("dry-run", {"toml": SHIPPED, "last": 1_001}, OPERATOR, 422),
        ("dry-run", {"toml": SHIPPED}, OPERATOR, 503),
    ],
)
async def test_a_rejected_request_is_a_problem(
    lone_adapter: Served, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    """No event, no token, a file that is too large, too many events, no event log."""
    answer = await lone_adapter.http.post(f"/api/routes/{path}", json=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
