"""Timestamp, Moment and Day: points in time and a date that a client names, as RFC 3339 writes them."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _as_text(value: object) -> object:
    """Without it pydantic takes a number too, and guesses what it counts."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError("must be a time like 2021-07-17T23:59:59Z, with its offset from UTC")
    return value


def storable(value: datetime) -> datetime:
    """The times at both ends of what can be written are not times in every zone. Nothing of ours happened
    so early or so late, so a nearer one asks the same."""
    return min(max(value, _EARLIEST), _LATEST)


Timestamp = Annotated[AwareDatetime, BeforeValidator(_as_text)]
"""As it was told."""

Moment = Annotated[Timestamp, AfterValidator(storable)]
"""One to compare with what is stored."""


def _as_date(value: object) -> object:
    """Without it pydantic takes a number too, and a time at midnight."""
    if not isinstance(value, date) and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("must be a date like 2021-07-17")
    return value


Day = Annotated[date, BeforeValidator(_as_date)]
