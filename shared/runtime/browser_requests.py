"""Recognition of requests that another site made a browser send.

Imports nothing outside the standard library: the local SNS/SQS server has an environment of its own.
"""

import re
from collections.abc import Collection, Iterable

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ANY_HOST = "*"

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?", re.IGNORECASE)

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, and values, as in an ASGI scope."""


def rejection(
    method: str, headers: Headers, *, allowed_hosts: Collection[str], is_linkable: bool
) -> tuple[int, str] | None:
    """Return HTTP status and reason if the request is to be rejected.

    The check of Host prevents DNS rebinding, by which another site could also read the responses.
    `is_linkable` lets navigations through, which follow a link (see https://web.dev/articles/fetch-metadata),
    and requests of other ports of the same host; it is for servers on which a GET changes nothing.
    """
    headers = list(headers)
    by_name = dict(headers)
    host, origin = by_name.get(b"host"), by_name.get(b"origin")
    if host is None:
        return 400, "The request has no Host header"
    if sum(name == b"host" for name, _ in headers) > 1:
        return 400, "The request has more than one Host header"
    if not _is_allowed(host, allowed_hosts):
        return 421, f"Host {host.decode('latin-1')!r} is not in ALLOWED_HOSTS"
    if origin is not None and origin.partition(b"://")[2].lower() != host.lower():
        return 403, f"Requests from {origin.decode('latin-1')!r} are not accepted"
    site = by_name.get(b"sec-fetch-site")
    if is_linkable:
        is_foreign = site == b"cross-site" and not _is_navigation(method, by_name)
    else:
        is_foreign = site in (b"cross-site", b"same-site")
    return (403, "Requests from pages of other sites are not accepted") if is_foreign else None


def _is_allowed(host: bytes, allowed_hosts: Collection[str]) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and (ANY_HOST in allowed_hosts or match[1].lower().decode() in allowed_hosts)


def _is_navigation(method: str, headers: dict[bytes, bytes]) -> bool:
    return (
        method == "GET"
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )
