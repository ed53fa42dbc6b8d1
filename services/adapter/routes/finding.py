"""Finding: an error or warning at one place of the route file."""

import re
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from snsqs import WireModel

_TABLE = re.compile(r"\s*(\[{1,2})\s*([^][]+?)\s*\]{1,2}\s*(#.*)?")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?(?:\s*\.\s*["']?[\w-]+["']?)*\s*=(?!=)""")


class Fault(NamedTuple):
    """Reason why something is wrong, and a hint for its author."""

    reason: str
    hint: str | None = None


class Finding(WireModel):
    """Error, which keeps the file from being used, or warning."""

    line: int
    rule: str | None = None
    """Id of the rule, or its number in the file when it has none."""
    key: str | None = None
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        names = (("rule", self.rule), ("key", self.key))
        where = ", ".join(f"{what} {name}" for what, name in names if name)
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}: {self.reason}{hint}" if where else f"{self.reason}{hint}"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint for a word that looks mistyped."""
    close = closest(word, known)
    return f"did you mean {close}?" if close else None


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to a mistyped one."""
    return next(iter(get_close_matches(word, list(known), n=1)), None)


Place = tuple[str | int, ...]
"""Path to a value from the top of a document: `("route", 0, "topic")`."""


class Lines:
    """Line numbers of the tables and keys of a TOML document, which `tomllib` does not report.

    Finds `[table]`, `[[table]]` and `key =` at the beginning of a line, in multi-line strings too. Anything
    else has the line of the table or key that contains it: of `a.b = 1` that of `a`.
    """

    _MAX_DEPTH = 3
    """Names of a table of which each has a line, as in `[published.order]`."""

    def __init__(self, text: str) -> None:
        self._found: dict[Place, int] = {}
        arrays = Counter[Place]()
        table: Place = ()
        for number, line in enumerate(text.split("\n"), start=1):
            if header := _TABLE.fullmatch(line):
                table = tuple(name.strip(" \"'") for name in header[2].split("."))
                if header[1] == "[[":
                    arrays[table] += 1
                    table = (*table, arrays[table] - 1)
                for depth in range(1, min(len(table), self._MAX_DEPTH) + 1):
                    self._found.setdefault(table[:depth], number)
            elif key := _KEY.match(line):
                self._found.setdefault((*table, key[1]), number)

    def number_of(self, place: Place) -> int:
        while place and place not in self._found:
            place = place[:-1]
        return self._found.get(place, 1)
