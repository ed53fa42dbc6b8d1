"""Components of an application: typed objects that its lifespan adds and its endpoints resolve.

    app = application(title="Order service", …)
    components(app).add(database)                                   # in the lifespan

    BridgeDependency = Annotated[Bridge, component(Bridge)]         # in an endpoint's signature

The idea is from svcs (https://svcs.hynek.me): the lifespan registers, a request resolves.
"""

from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from snsqs.postgres import Database

T = TypeVar("T")


class ComponentMissing(LookupError):
    """The application has no component of this type. Add it in the lifespan: `components(app).add(…)`."""


class Components:
    """Objects of one application, at most one of each class."""

    def __init__(self, *added: object) -> None:
        self._by_class: dict[type, object] = {}
        self.add(*added)

    def add(self, *added: object) -> None:
        """Add objects, each under its own class. Replaces an earlier object of the same class."""
        self._by_class.update({type(each): each for each in added})

    def get(self, kind: type[T]) -> T:
        """Return the object of this class. Raises ComponentMissing."""
        try:
            found = self._by_class[kind]
        except KeyError:
            raise ComponentMissing(
                f"the application has no {kind.__qualname__}; add it in the lifespan"
            ) from None
        assert isinstance(found, kind)
        return found


def components(app: FastAPI) -> Components:
    """Return the components of an application that was built with `application`."""
    found: Components = app.state.components
    return found


def component(kind: type[T]) -> Any:
    """Return the FastAPI dependency that resolves to the application's object of this class."""

    async def resolve(request: Request) -> T:  # FastAPI runs a plain function in a thread
        return components(request.app).get(kind)

    return Depends(resolve)


def database(request: Request) -> Database:
    """Return the service's database. Calling this costs less than the dependency does."""
    return components(request.app).get(Database)


DatabaseDependency = Annotated[Database, component(Database)]
"""The service's database, in an endpoint's signature."""
