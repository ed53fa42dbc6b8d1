"""Field types for dates and times in RFC 3339 format."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _as_text(value: object) -> object:
    """Reject numbers, whose unit pydantic would guess."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError("must be a time such as 2021-07-17T23:59:59Z, with an offset from UTC")
    return value


def storable(value: datetime) -> datetime:
    """Return the nearest time between 1970 and 9000, which every time zone and PostgreSQL can represent."""
    return min(max(value, _EARLIEST), _LATEST)


Timestamp = Annotated[AwareDatetime, BeforeValidator(_as_text)]
"""Time with an offset from UTC, unchanged."""

Moment = Annotated[Timestamp, AfterValidator(storable)]
"""Time with an offset from UTC, limited to the range of stored times."""


def _as_date(value: object) -> object:
    """Reject numbers and times, which pydantic would convert."""
    if not isinstance(value, date) and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("must be a date such as 2021-07-17")
    return value


Day = Annotated[date, BeforeValidator(_as_date)]
"""Date without a time."""
