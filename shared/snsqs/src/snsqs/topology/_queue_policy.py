"""Queue policies, compared by their meaning: AWS stores them in a spelling of its own."""

import json
from typing import Any

Statement = dict[str, Any]


def policy_drift(desired: str, found: str) -> list[str]:
    """Return a sentence for each statement of `desired` that `found` lacks, and for each additional one.

    Both are JSON; `found` is empty where the queue has no policy. Order, labels (`Sid`), a single value
    instead of a list and equivalent operators make no difference. A rule that only requires TLS is not a
    drift: it allows nothing, and many companies put it on every queue.
    """
    expected, actual = _by_meaning(desired), _by_meaning(found)
    lacking = [statement for meaning, statement in expected.items() if meaning not in actual]
    additional = [statement for meaning, statement in actual.items() if meaning not in expected]
    return [
        *[f"queue policy lacks {_text(each)}" for each in lacking],
        *[f"queue policy {_effect(each)}: {_text(each)}" for each in additional if not _requires_tls(each)],
    ]


def with_tls_rule(desired: str, found: str) -> str:
    """Return the desired policy with the rule of `found` that requires TLS, if there is one."""
    kept = [statement for statement in _statements(found) if _requires_tls(statement)]
    policy = json.loads(desired)
    return json.dumps({**policy, "Statement": [*policy["Statement"], *kept]})


def _by_meaning(policy: str) -> dict[str, Statement]:
    return {json.dumps(_meaning(each), sort_keys=True): each for each in _statements(policy)}


def _statements(policy: str) -> list[Statement]:
    found = json.loads(policy or "{}").get("Statement", [])
    return found if isinstance(found, list) else [found]


def _meaning(statement: Statement) -> Statement:
    """The statement in a canonical spelling."""
    meaning: Statement = {key: _values(value) for key, value in statement.items() if key != "Sid"}
    if isinstance(principal := statement.get("Principal"), dict):
        meaning["Principal"] = {kind: _values(each) for kind, each in principal.items()}
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
    """ArnLike is equivalent to ArnEquals, and so is a text comparison of a whole ARN."""
    is_equivalent = operator == "ArnLike" or (operator == "StringEquals" and key == "aws:sourcearn")
    return "ArnEquals" if is_equivalent else operator


def _values(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return sorted({each if isinstance(each, str) else json.dumps(each, sort_keys=True) for each in values})


def _requires_tls(statement: Statement) -> bool:
    no_tls = [["Bool", "aws:securetransport", ["false"]]]
    return statement.get("Effect") == "Deny" and _conditions(statement.get("Condition", {})) == no_tls


def _effect(statement: Statement) -> str:
    return "allows more than the topic" if statement.get("Effect") == "Allow" else "has a Deny statement"


def _text(statement: Statement) -> str:
    return json.dumps({key: value for key, value in statement.items() if key != "Sid"})
