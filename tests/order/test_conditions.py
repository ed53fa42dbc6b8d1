"""If-Match and If-None-Match: no client overwrites a version that it has not read."""

import asyncio
from typing import Any

import pytest

from tests.order.test_api import ORDER, PROBLEM, place
from tests.serving import Served

COMMANDS: list[tuple[str, str, Any]] = [
    ("POST", "complete", None),
    ("POST", "cancel", None),
    ("PUT", "delivery-address", ORDER["deliveryAddress"]),
    ("PUT", "memo", {"memo": "ring twice"}),
]


@pytest.mark.parametrize(("method", "command", "body"), COMMANDS)
async def test_a_command_on_an_older_version_is_rejected(
    lone_order: Served, method: str, command: str, body: Any
) -> None:
    """412 for every command if If-Match does not name the order's version; nothing changes."""
    path = f"/orders/{await place(lone_order)}"
    await lone_order.http.put(f"{path}/memo", json={"memo": "first"})
    before = (await lone_order.http.get(path)).json()
    answer = await lone_order.http.request(
        method, f"{path}/{command}", json=body, headers={"if-match": '"1"'}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (412, PROBLEM)
    assert "is at version 2" in answer.json()["detail"]
    assert (await lone_order.http.get(path)).json() == before
    answer = await lone_order.http.request(
        method, f"{path}/{command}", json=body, headers={"if-match": '"2"'}
    )
    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ("*", 200),
        ('"7", "1"', 200),
        (',"7" ,\t"1",', 200),
        ('"1,1", "1"', 200),
        ('W/"1"', 412),
        ('"01"', 412),
        ('"one"', 412),
        ('""', 412),
        (f'"{"9" * 5_000}"', 412),
        ("", 400),
        ("1", 400),
        ("'1'", 400),
        ('"1', 400),
        ('w/"1"', 400),
        ('"1" x', 400),
        ('"1" "2"', 400),
        ('*, "1"', 400),
    ],
)
async def test_if_match_follows_rfc_9110(lone_order: Served, if_match: str, status: int) -> None:
    """Any of several strong tags, or `*`; a weak tag never matches; a malformed header is a 400."""
    path = f"/orders/{await place(lone_order)}"
    answer = await lone_order.http.post(f"{path}/complete", headers={"if-match": if_match})
    assert answer.status_code == status, answer.text


async def test_if_match_on_several_lines_is_one_list(lone_order: Served) -> None:
    """As every list-valued header."""
    path = f"/orders/{await place(lone_order)}"
    lines = [("if-match", '"7"'), ("if-match", '"1"')]
    assert (await lone_order.http.post(f"{path}/complete", headers=lines)).status_code == 200


async def test_an_unknown_order_is_not_found_with_any_if_match(lone_order: Served) -> None:
    """404, not 412: without the header it would be 404 as well."""
    path = "/orders/20210717235959000000/complete"
    assert (await lone_order.http.post(path, headers={"if-match": "*"})).status_code == 404


async def test_of_several_clients_at_the_same_version_one_succeeds(lone_order: Served) -> None:
    """The others get 412."""
    path = f"/orders/{await place(lone_order)}/memo"
    answers = await asyncio.gather(
        *(
            lone_order.http.put(path, json={"memo": f"from {number}"}, headers={"if-match": '"1"'})
            for number in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [('"1"', 304), ('W/"1"', 304), ("*", 304), ('"7", "1"', 304), ('"2"', 200), ('"11"', 200), ("1", 400)],
)
async def test_if_none_match_compares_weakly(lone_order: Served, if_none_match: str, status: int) -> None:
    """A 304 has the ETag and no body."""
    path = f"/orders/{await place(lone_order)}"
    answer = await lone_order.http.get(path, headers={"if-none-match": if_none_match})
    assert answer.status_code == status
    if status == 304:
        assert (answer.headers["etag"], answer.content) == ('"1"', b"")
