"""Expression: JMESPath, compiled once, bounded, and silent about the values that it reads."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions

MOST_CHARACTERS = 2_000
MOST_DEPTH = 100
MOST_GROWTH = 1_000
"""JMESPath has no loops, but each `[@, @][] |` doubles what the next step works on."""

Node = Mapping[str, Any]
"""A node of JMESPath's syntax tree: `type`, `children`, and perhaps `value`."""


def _arguments(signature: Sequence[Mapping[str, Any]]) -> range:
    """How many arguments a function takes."""
    is_variadic = bool(signature) and signature[-1].get("variadic", False)
    return range(len(signature), MOST_CHARACTERS if is_variadic else len(signature) + 1)


FUNCTIONS = {name: _arguments(function["signature"]) for name, function in Functions.FUNCTION_TABLE.items()}
"""JMESPath's functions, and how many arguments each takes."""


class ExpressionFailed(Exception):
    """The expression cannot be evaluated on this event. The message has no value of the event in it: it is
    logged and kept, and the event may hold a phone number."""


class Expression:
    """An expression of the route file. Made once and evaluated often, by any number of tasks."""

    def __init__(self, text: str) -> None:
        """Raises ValueError with the reason why it cannot be used."""
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"has {len(text)} characters; {MOST_CHARACTERS} are the limit")
        try:
            self._compiled = jmespath.compile(text)
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        except JMESPathError as error:
            raise ValueError(f"not JMESPath: {' '.join(str(error).split())}") from None
        self.text = text
        if _growth(self.tree, MOST_DEPTH) > MOST_GROWTH:
            raise ValueError(f"could make more than {MOST_GROWTH} times of what it is given")

    @property
    def tree(self) -> Node:
        tree: Node = self._compiled.parsed
        return tree

    def search(self, data: dict[str, Any]) -> Any:
        """What it makes of the data. Raises ExpressionFailed."""
        try:
            return self._compiled.search(data)
        except JMESPathTypeError as error:
            takes = " or ".join(error.expected_types)
            reason = f"{error.function_name}() takes {takes}, not {error.actual_type}"
            raise ExpressionFailed(reason) from None
        except Exception as error:  # such as "a" < 1, for which JMESPath has no error of its own
            raise ExpressionFailed(f"{type(error).__name__} in {self.text}") from None

    def __str__(self) -> str:
        return self.text


def _growth(node: Node, depth: int) -> int:
    """How many times larger than what it is given anything can be that the expression makes on its way."""
    if depth == 0:
        raise ValueError("is nested too deeply")
    if node["type"] in ("slice", "literal"):  # what these have as children are no nodes
        return 1
    parts = [_growth(child, depth - 1) for child in node["children"]]
    return prod(parts) if node["type"] in _IN_TURN or _takes_expression(node) else max(1, sum(parts))


def _takes_expression(node: Node) -> bool:
    """As `map` and `sort_by` do."""
    return any(child["type"] == "expref" for child in node["children"])


_IN_TURN = {
    "subexpression",
    "index_expression",
    "pipe",
    "projection",
    "value_projection",
    "filter_projection",
}
"""Each of their parts works on what the one before it made."""
