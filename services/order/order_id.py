"""Order ids: the time of placing in UTC, in microseconds, as 20 digits: yyyyMMddHHmmssffffff.

Ids sort by the time of placing. Two orders placed in one microsecond get consecutive ids.
"""

from datetime import UTC, datetime, timedelta

FORMAT = "20 digits, yyyyMMddHHmmssffffff"

_DIGITS = 20


def id_at(moment: datetime) -> str:
    """Return the id of an order placed at an aware datetime."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S%f")


def moment_of(order_id: str) -> datetime:
    """Return the time of placing (UTC) of a valid id."""
    return datetime.fromisoformat(f"{order_id[:8]}T{order_id[8:14]}.{order_id[14:]}+00:00")


def next_id(order_id: str) -> str:
    """Return the id one microsecond later."""
    return id_at(moment_of(order_id) + timedelta(microseconds=1))


def is_id(text: str) -> bool:
    """Return whether the text has the form of an order id."""
    return len(text) == _DIGITS and text.isascii() and text.isdigit()
