"""Expression: JMESPath (https://jmespath.org), compiled once, with bounded time and memory."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions

MAX_CHARACTERS = 2_000
MAX_DEPTH = 100
MAX_GROWTH = 1_000
"""Limit of an intermediate result, in multiples of the input: JMESPath has no loops, but each `[@, @][] |`
doubles the input of the next step."""

Node = Mapping[str, Any]
"""Node of JMESPath's syntax tree: `type`, `children` and, for some types, `value`."""


def _argument_counts(signature: Sequence[Mapping[str, Any]]) -> range:
    is_variadic = bool(signature) and signature[-1].get("variadic", False)
    return range(len(signature), MAX_CHARACTERS if is_variadic else len(signature) + 1)


FUNCTIONS = {
    name: _argument_counts(function["signature"]) for name, function in Functions.FUNCTION_TABLE.items()
}
"""JMESPath's functions with the numbers of arguments that each accepts."""


class ExpressionFailed(Exception):
    """The expression cannot be evaluated on this event. The message contains no value of the event: it is
    logged and stored, and the event may contain a phone number."""


class Expression:
    """Expression of the route file; immutable, safe to share between threads.

    Raises ValueError, with the reason, if the text is not JMESPath or exceeds a limit.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"has {len(text)} characters; {MAX_CHARACTERS} are the limit")
        try:
            self._compiled = jmespath.compile(text)
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        except JMESPathError as error:
            raise ValueError(f"not JMESPath: {' '.join(str(error).split())}") from None
        self.text = text
        if _growth(self.tree, MAX_DEPTH) > MAX_GROWTH:
            raise ValueError(f"could produce more than {MAX_GROWTH} times its input")

    @property
    def tree(self) -> Node:
        tree: Node = self._compiled.parsed
        return tree

    def search(self, data: dict[str, Any]) -> Any:
        """Return the result of evaluating the expression on the data. Raises ExpressionFailed."""
        try:
            return self._compiled.search(data)
        except JMESPathTypeError as error:
            expected = " or ".join(error.expected_types)
            reason = f"{error.function_name}() takes {expected}, not {error.actual_type}"
            raise ExpressionFailed(reason) from None
        except Exception as error:  # such as "a" < 1, for which JMESPath has no error of its own
            raise ExpressionFailed(f"{type(error).__name__} in {self.text}") from None

    def __str__(self) -> str:
        return self.text


def _growth(node: Node, depth: int) -> int:
    """Return the upper bound of any intermediate result, in multiples of the input."""
    if depth == 0:
        raise ValueError("is nested too deeply")
    if node["type"] == "slice":  # its children are not nodes
        return 1
    if node["type"] == "literal":  # which a projection may yield for each element
        return max(1, len(str(node["value"])))
    parts = [_growth(child, depth - 1) for child in node["children"]]
    if node["type"] in _SEQUENTIAL or _takes_expression(node):
        return prod(parts)
    return max(1, sum(parts)) * _growth_of_call(node)


def _growth_of_call(node: Node) -> int:
    """Return the growth of a function's result, in multiples of its arguments.

    `join` repeats its separator, whose size is known only if it is a literal. `to_string` escapes characters
    as `\\ud800\\udc00`, once more for each call around it.
    """
    match node:
        case {"type": "function_expression", "value": "join", "children": [{"type": "literal"} as glue, _]}:
            return 1 + len(str(glue["value"]))
        case {"type": "function_expression", "value": "join"}:
            raise ValueError("the separator of join() must be a literal")
        case {"type": "function_expression", "value": "to_string"}:
            return _MAX_ESCAPED_CHARACTER
    return 1


_MAX_ESCAPED_CHARACTER = 12


def _takes_expression(node: Node) -> bool:
    """Return whether the node is a call of a function such as `map` or `sort_by`."""
    return any(child["type"] == "expref" for child in node["children"])


_SEQUENTIAL = {
    "subexpression",
    "index_expression",
    "pipe",
    "projection",
    "value_projection",
    "filter_projection",
}
"""Types of nodes whose children each work on the result of the child before."""
