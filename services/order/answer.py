"""Answers: what a command is answered over REST, in a form that can be kept."""

from dataclasses import dataclass

from fastapi import Response

from services.order.order import NotAllowed, Order
from shared.web import Problem


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body."""

    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def done(cls, order: Order, status: int = 200) -> "Answer":
        """The order as it is now. 201 says where it is."""
        headers = {"content-type": "application/json", "etag": entity_tag(order)}
        if status == 201:
            headers["location"] = f"/orders/{order.id}"
        return cls(status, headers, order.model_dump_json())

    @classmethod
    def refused(cls, error: NotAllowed) -> "Answer":
        response = Problem(409, str(error)).response()
        return cls(409, {"content-type": response.headers["content-type"]}, bytes(response.body).decode())

    def response(self) -> Response:
        return Response(self.body, self.status, self.headers)


def entity_tag(order: Order) -> str:
    return f'"{order.version}"'
