"""Lines: where in the text of a TOML file its tables and keys are, which `tomllib` does not tell."""

import re
from collections import Counter

_TABLE = re.compile(r"\s*(\[{1,2})\s*([^][]+?)\s*\]{1,2}\s*(#.*)?")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=(?!=)""")

Place = tuple[str | int, ...]
"""The way to a value from the top of the document: `("route", 0, "topic")`."""


class Lines:
    """The lines of a document that was parsed without an error.

    It knows `[table]`, `[[table]]` and `key =` at the beginning of a line, as people write them, and takes
    the same within a text of several lines for them too. What it does not find is on the line of
    what it is in.
    """

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
                self._found.setdefault(table, number)
            elif key := _KEY.match(line):
                self._found.setdefault((*table, key[1]), number)

    def of(self, place: Place) -> int:
        while place and place not in self._found:
            place = place[:-1]
        return self._found.get(place, 1)
