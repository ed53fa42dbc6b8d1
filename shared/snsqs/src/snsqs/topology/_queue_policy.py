"""The queue policy: who may send to a queue, compared by what it means: AWS keeps a spelling of its own."""

import json
from typing import Any

Statement = dict[str, Any]


def policy_drift(wanted: str, found: str) -> list[str]:
    """In words, what the policy `found` lacks of `wanted`, and every statement that it has besides.

    Both are JSON; `found` is empty where the queue has no policy. Order, labels (`Sid`), a single value
    instead of a list and the operators that mean the same make no difference. A rule that only demands
    TLS is not a drift: it lets nobody in, and many companies put it on every queue.
    """
    asked, given = _by_meaning(wanted), _by_meaning(found)
    lacking = [statement for meaning, statement in asked.items() if meaning not in given]
    besides = [statement for meaning, statement in given.items() if meaning not in asked]
    return [
        *[f"queue policy lacks {_text(each)}" for each in lacking],
        *[f"queue policy {_does(each)}: {_text(each)}" for each in besides if not _demands_tls(each)],
    ]


def with_tls_rule(wanted: str, found: str) -> str:
    """The policy to write where `found` is to become `wanted`: a rule that demands TLS is kept."""
    kept = [statement for statement in _statements(found) if _demands_tls(statement)]
    policy = json.loads(wanted)
    return json.dumps({**policy, "Statement": [*policy["Statement"], *kept]})


def _by_meaning(policy: str) -> dict[str, Statement]:
    return {json.dumps(_meaning(each), sort_keys=True): each for each in _statements(policy)}


def _statements(policy: str) -> list[Statement]:
    found = json.loads(policy or "{}").get("Statement", [])
    return found if isinstance(found, list) else [found]


def _meaning(statement: Statement) -> Statement:
    """The statement in one spelling out of all that mean the same."""
    meaning: Statement = {key: _values(value) for key, value in statement.items() if key != "Sid"}
    if isinstance(who := statement.get("Principal"), dict):
        meaning["Principal"] = {kind: _values(each) for kind, each in who.items()}
    if "Action" in statement:
        meaning["Action"] = _values([action.lower() for action in _values(statement["Action"])])
    if "Condition" in statement:
        meaning["Condition"] = _conditions(statement["Condition"])
    return meaning


def _conditions(condition: dict[str, dict[str, Any]]) -> list[list[Any]]:
    return sorted(
        [_operator(operator, key.lower()), key.lower(), _values(value)]
        for operator, keys in condition.items()
        for key, value in keys.items()
    )


def _operator(operator: str, key: str) -> str:
    """ArnLike is ArnEquals in every respect, and a text comparison of a whole ARN comes to the same."""
    same = operator == "ArnLike" or (operator == "StringEquals" and key == "aws:sourcearn")
    return "ArnEquals" if same else operator


def _values(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return sorted({each if isinstance(each, str) else json.dumps(each, sort_keys=True) for each in values})


def _demands_tls(statement: Statement) -> bool:
    no_tls = [["Bool", "aws:securetransport", ["false"]]]
    return statement.get("Effect") == "Deny" and _conditions(statement.get("Condition", {})) == no_tls


def _does(statement: Statement) -> str:
    return "lets in more than the topic" if statement.get("Effect") == "Allow" else "denies something"


def _text(statement: Statement) -> str:
    return json.dumps({key: value for key, value in statement.items() if key != "Sid"})
