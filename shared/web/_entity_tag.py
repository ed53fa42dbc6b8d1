"""Preconditions: entity tags in If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1)."""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from shared.web._openapi import header
from shared.web._problem import Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_PATTERN = r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'
_WEAK = "W/"
_ANY = "*"

IF_MATCH = header("If-Match", "Entity tags, one of which must be the current one; `*` is any", _PATTERN)
IF_NONE_MATCH = header(
    "If-None-Match", "Entity tags, none of which may be the current one; 304 for a read, else 412", _PATTERN
)


@dataclass(frozen=True)
class Preconditions:
    """Tags of If-Match and If-None-Match, None for a header that is absent. `*` is a tag of its own."""

    if_match: Collection[str] | None = None
    if_none_match: Collection[str] | None = None

    def matches(self, tag: str | None) -> bool:
        """Return whether If-Match allows this tag, None for a resource that does not exist. Weak tags never
        match (the strong comparison)."""
        return self.if_match is None or (tag is not None and (_ANY in self.if_match or tag in self.if_match))

    def is_known(self, tag: str | None) -> bool:
        """Return whether If-None-Match names this tag, by the weak comparison."""
        if self.if_none_match is None or tag is None:
            return False
        return _ANY in self.if_none_match or tag in (each.removeprefix(_WEAK) for each in self.if_none_match)

    def require(self, tag: str | None) -> None:
        """Raise Problem 412 unless a resource with this tag may be changed."""
        if not self.matches(tag) or self.is_known(tag):
            state = f"its entity tag is {tag}" if tag else "it does not exist"
            raise Problem(412, f"The resource does not meet If-Match or If-None-Match: {state}")

    def not_modified(self, tag: str) -> Response | None:
        """Return the response 304 if the client of a read has this tag, else None. Raises Problem 412."""
        if not self.matches(tag):
            self.require(tag)
        return Response(status_code=304, headers={"etag": tag}) if self.is_known(tag) else None


_NONE = Preconditions()


def preconditions(request: Request) -> Preconditions:
    """Return the preconditions of a request. Raises Problem 400 for a malformed header."""
    if_match, if_none_match = (request.headers.getlist(name) for name in ("if-match", "if-none-match"))
    if not if_match and not if_none_match:
        return _NONE
    return Preconditions(_tags("If-Match", if_match), _tags("If-None-Match", if_none_match))


def content_tag(content: bytes) -> str:
    """Return a strong entity tag of a representation without a version."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _tags(name: str, lines: Sequence[str]) -> list[str] | None:
    """Return the tags of all header lines, None if there is no line."""
    if not lines:
        return None
    value = ",".join(lines).strip()
    if value == _ANY:
        return [_ANY]
    if not _TAGS.fullmatch(value):
        raise Problem(400, f'{name} must be * or a list of entity tags, such as "3"')
    return re.findall(_TAG, value)
