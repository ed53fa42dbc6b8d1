"""Components of an application and HTTP statuses of its errors."""

from typing import Annotated

import pytest
from fastapi import FastAPI
from snsqs.postgres import DatabaseUnavailable, StatementTimeout

from shared.runtime.service_client import RequestRejected, ServiceUnavailable
from shared.web import ComponentMissing, application, component, components, map_errors
from tests.serving import calling


class Spoon:
    """A component."""


class Blunt(Exception):
    """A domain error."""


class Lost(Blunt):
    """A domain error with a status of its own."""


class Bent(Blunt):
    """A domain error without a status of its own."""


@pytest.fixture
def app() -> FastAPI:
    return application(title="Test", description="", lifespan=lambda _: pytest.fail("not opened"))


async def test_an_endpoint_gets_the_component_of_its_class(app: FastAPI) -> None:
    """The object that the lifespan added; a later one replaces it."""
    seen = []

    @app.get("/spoon")
    async def spoon(spoon: Annotated[Spoon, component(Spoon)]) -> None:
        seen.append(spoon)

    async with calling(app) as client:
        for each in (Spoon(), Spoon()):
            components(app).add(each)
            assert (await client.get("/spoon")).status_code == 200
            assert seen.pop() is each


def test_a_missing_component_is_named(app: FastAPI) -> None:
    with pytest.raises(ComponentMissing, match="no Spoon; add it in the lifespan"):
        components(app).get(Spoon)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Blunt("blunt"), 409),
        (Lost("lost"), 404),
        (Bent("bent"), 409),
        (ServiceUnavailable("order: no answer"), 503),
        (RequestRejected(412, "order: changed"), 412),
    ],
)
async def test_an_error_is_answered_with_its_status(app: FastAPI, error: Exception, status: int) -> None:
    """The detail is its message. The nearest class counts, and rejections of other services are passed on."""
    map_errors(app, {Blunt: 409, Lost: 404})

    @app.get("/")
    async def fail() -> None:
        raise error

    async with calling(app) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("error", [DatabaseUnavailable("lost"), StatementTimeout("canceled")])
async def test_an_error_of_the_database_may_be_retried(app: FastAPI, error: Exception) -> None:
    """A slow statement is not reported as an outage; neither answer contains the error."""

    @app.get("/")
    async def fail() -> None:
        raise error

    async with calling(app) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert ("unavailable" in answer.json()["detail"]) == (type(error) is DatabaseUnavailable)
    assert str(error) not in answer.text
