"""Order ids: the moment of placing, to the microsecond and in UTC, as twenty digits: yyyyMMddHHmmssffffff."""

from datetime import UTC, datetime, timedelta

FORM = "20 digits, yyyyMMddHHmmssffffff"

_DIGITS = 20


def id_at(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S%f")


def moment_of(order_id: str) -> datetime:
    return datetime.fromisoformat(f"{order_id[:8]}T{order_id[8:14]}.{order_id[14:]}+00:00")


def next_id(order_id: str) -> str:
    return id_at(moment_of(order_id) + timedelta(microseconds=1))


def is_id(text: str) -> bool:
    """Whether it has the form of an order id, so that one may be asked for."""
    return len(text) == _DIGITS and text.isascii() and text.isdigit()
