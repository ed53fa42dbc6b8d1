"""JSON of events, in which no value is lost: Python has numbers and texts that JSON has not."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import SchemaSerializer, core_schema, from_json, to_json

_any = SchemaSerializer(core_schema.any_schema())


def encode_any(value: object) -> bytes:
    """Return any value that pydantic can encode as JSON, models in their wire format. Raises ValueError as
    `encode` does."""
    return encode(_any, value)


def encode(serializer: SchemaSerializer, value: object) -> bytes:
    """Return a value as JSON. Raises ValueError, which names the field, for a value that does not fit its
    type, NaN, an infinity, half of a surrogate pair, and an object without a JSON form."""
    try:
        encoded = serializer.to_json(value, warnings="error")
        if _may_be_inexact(encoded):
            _require_exact(serializer, value, encoded)
    except ValueError as error:
        path, reason = _unencodable(serializer, value), " ".join(str(error).split())
        raise ValueError(f"{path}: {reason}" if path else reason) from error
    return encoded


def cloud_event(context: Mapping[str, str], data: str) -> str:
    """Return a CloudEvent in JSON, with these context attributes. `data` is JSON, and stays as it is: decoded
    and encoded again, it could be another one, or have no encoding."""
    document = {"specversion": "1.0", **context, "datacontenttype": "application/json"}
    return f'{json.dumps(document)[:-1]}, "data": {data}}}'


def _may_be_inexact(encoded: bytes) -> bool:
    """Return whether a value may have been replaced: pydantic writes null for a number that is not finite,
    unless the model is configured otherwise, and U+FFFD for half of a surrogate pair in a key."""
    has_number = b"null" in encoded or b"NaN" in encoded or b"Infinity" in encoded
    return has_number or (not encoded.isascii() and b"\xef\xbf\xbd" in encoded)


def _require_exact(serializer: SchemaSerializer, value: object, encoded: bytes) -> None:
    dumped = serializer.to_python(value, warnings=False)
    exact = to_json(dumped, inf_nan_mode="constants", serialize_unknown=True)
    if b"NaN" in exact or b"Infinity" in exact:  # also as a text, which is exact
        for path, number in _lost(dumped, from_json(encoded), ()):
            raise ValueError(f"{_dotted(path)} is {number}, which JSON cannot represent; send None or a text")


def _lost(dumped: object, decoded: object, path: tuple[object, ...]) -> Iterator[tuple[Any, float]]:
    """Yield numbers that are not finite and not encoded as texts, with their paths in the JSON."""
    if isinstance(dumped, float):
        if not math.isfinite(dumped) and not isinstance(decoded, str):
            yield path, dumped
        return
    if isinstance(dumped, Mapping) and isinstance(decoded, dict):
        for (key, inner), each in zip(decoded.items(), dumped.values(), strict=False):
            yield from _lost(each, inner, (*path, key))
    elif isinstance(dumped, list | tuple | set | frozenset) and isinstance(decoded, list):
        for position, (each, inner) in enumerate(zip(dumped, decoded, strict=False)):
            yield from _lost(each, inner, (*path, position))


def _unencodable(serializer: SchemaSerializer, value: object) -> str:
    """Return the path of the field that cannot be encoded, empty if it is not known."""
    try:
        dumped = serializer.to_python(value, warnings=False)
    except ValueError:
        return ""
    return _dotted(_path_of_error(dumped, ()))


def _path_of_error(dumped: object, path: tuple[object, ...]) -> tuple[object, ...]:
    """Return the path of the innermost value that has no JSON form, empty if there is none."""
    try:
        to_json(dumped)
    except ValueError:
        if isinstance(dumped, Mapping):
            parts: Any = dumped.items()
        else:
            parts = enumerate(dumped) if isinstance(dumped, list | tuple | set | frozenset) else ()
        for key, inner in parts:
            if found := _path_of_error(inner, (*path, key)):
                return found
        return path
    return ()


def _dotted(path: tuple[object, ...]) -> str:
    return ".".join(str(part).encode(errors="backslashreplace").decode() for part in path)
