"""Entity tags in If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1)."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header
from pydantic import WithJsonSchema

from shared.web._openapi import header
from shared.web._problem import Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_PATTERN = r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'
_WEAK = "W/"

IfMatch = Annotated[
    list[str] | None,
    WithJsonSchema({"type": "string", "pattern": _PATTERN}),
    Header(description="Entity tags of which one must match; `*` matches any"),
]
IF_NONE_MATCH = header("If-None-Match", "Entity tags; the response is 304 if one matches", _PATTERN)


def if_match_tags(if_match: Sequence[str] | None) -> frozenset[str] | None:
    """Return the entity tags of If-Match; None if the header is absent or `*`.

    Without weak tags, because If-Match uses the strong comparison. Raises Problem 400.
    """
    tags = _tags("If-Match", if_match)
    return None if tags is None else frozenset(tag for tag in tags if not tag.startswith(_WEAK))


def matches_if_none_match(tag: str, if_none_match: Sequence[str]) -> bool:
    """Return whether a tag matches If-None-Match, by the weak comparison. Raises Problem 400."""
    if not if_none_match:
        return False
    tags = _tags("If-None-Match", if_none_match)
    return tags is None or tag in (known.removeprefix(_WEAK) for known in tags)


def _tags(header: str, lines: Sequence[str] | None) -> list[str] | None:
    """Return the tags of all header lines; None if there is no line or `*`."""
    value = ",".join(lines or ["*"]).strip()
    if value == "*":
        return None
    if not _TAGS.fullmatch(value):
        raise Problem(400, f'{header} must be * or a list of entity tags, such as "3"')
    return re.findall(_TAG, value)
