"""Routes: what a route file may say, what it is told when it is wrong, and what can never leave by it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.adapter.cloud_event import CloudEvent
from services.adapter.main import cli
from services.adapter.routes import RouteFailed, RouteFile, Routes, RoutesInvalid, read_routes
from services.adapter.routes.published import ListOf, Shape
from services.adapter.settings import RoutesSettings
from services.order.events import OrderEvent
from services.scm.fulfilment._fulfilment import FulfilmentEvent
from shared.domain_event import DomainEvent
from tests.test_adapter import event

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


def run(*arguments: str) -> Result:
    """`python -m services.adapter routes …`, in this process."""
    return CliRunner().invoke(cli, ["routes", *arguments])


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
        case Mapping():
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
