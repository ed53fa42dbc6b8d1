"""Finding: what is wrong, or strange, at one place of the route file."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from snsqs import WireModel


class Fault(NamedTuple):
    """What is wrong, whatever the place."""

    reason: str
    hint: str | None = None


class Finding(WireModel):
    """An error keeps the file from being used, a warning does not."""

    line: int
    rule: str | None = None
    """The rule's id, or its number in the file when it has none."""
    key: str | None = None
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        names = (("rule", self.rule), ("key", self.key))
        where = ", ".join(f"{what} {name}" for what, name in names if name)
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}: {self.reason}{hint}" if where else f"{self.reason}{hint}"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint for what looks mistyped."""
    close = meant(word, known)
    return f"did you mean {close}?" if close else None


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that somebody who wrote this is likely to have meant."""
    return next(iter(get_close_matches(word, list(known), n=1)), None)
