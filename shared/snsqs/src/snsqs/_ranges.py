"""Ranges of options: an error that names option, value and permitted range."""

import math
from typing import NoReturn


def require_integer(
    options: object,
    name: str,
    *,
    minimum: int,
    maximum: float = math.inf,
    error: type[ValueError] = ValueError,
) -> None:
    """Raise the error unless an option is a whole number in the range."""
    value = getattr(options, name)
    if type(value) is not int or not minimum <= value <= maximum:
        reject(options, name, f"set a whole number {_range(minimum, maximum)}", error=error)


def require_seconds(
    options: object,
    name: str,
    *,
    minimum: float = 0,
    maximum: float = math.inf,
    error: type[ValueError] = ValueError,
) -> None:
    """Raise the error unless an option is a finite number of seconds in the range."""
    value = getattr(options, name)
    if type(value) not in (int, float) or not minimum <= value <= maximum or value == math.inf:
        reject(options, name, f"set seconds {_range(minimum, maximum)}", error=error)


def reject(options: object, name: str, remedy: str, *, error: type[ValueError] = ValueError) -> NoReturn:
    """Raise the error for the value of an option."""
    raise error(f"{type(options).__name__}: {name} is {getattr(options, name)!r}; {remedy}")


def _range(minimum: float, maximum: float) -> str:
    return f"of at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
