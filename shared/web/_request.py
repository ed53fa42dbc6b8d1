"""Parts of requests: base model of bodies, field types, cursor pagination."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict
from snsqs import WireModel

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class RequestModel(WireModel):
    """Base class of request bodies: camelCase names only, unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", validate_by_name=False)


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integral = BeforeValidator(_integral)
"""Accepts 2.0 for a strict `int`: JSON has one kind of number."""


def _check_time_format(value: object) -> object:
    """Reject numbers, whose unit pydantic would guess."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError("must be a time such as 2021-07-17T23:59:59Z, with an offset from UTC")
    return value


def clamp_time(value: datetime) -> datetime:
    """Return the nearest time between 1970 and 9000, which every time zone and PostgreSQL can represent."""
    return min(max(value, _EARLIEST), _LATEST)


Timestamp = Annotated[AwareDatetime, BeforeValidator(_check_time_format)]
"""Time in RFC 3339 format with an offset from UTC, unchanged."""

ClampedTimestamp = Annotated[Timestamp, AfterValidator(clamp_time)]
"""Timestamp limited to the range of stored times (see `clamp_time`)."""


def _check_date_format(value: object) -> object:
    """Reject numbers and times, which pydantic would convert."""
    if not isinstance(value, date) and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("must be a date such as 2021-07-17")
    return value


Day = Annotated[date, BeforeValidator(_check_date_format)]
"""Date in RFC 3339 format."""


def media_type(request: Request) -> str:
    """Return the media type of the body in lower case, without parameters; empty without Content-Type."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


Limit = Annotated[int, Query(ge=1, le=1_000)]
"""Maximum number of items on a page."""


def link_next(request: Request, response: Response, **cursor: object) -> None:
    """Add a `Link` header (RFC 8288) to the next page: the request's path with these query parameters.

    A relative reference, because a service behind a proxy does not know the URL that the client used.
    """
    url = request.url.include_query_params(**cursor)
    response.headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
