"""Faults of the adapter, switched by the console's experiments. In development only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field, StrictBool
from snsqs import Message, MessagingError, Send

from shared.web import OperatorAccess, Problem
from shared.web.request import RequestModel


class FaultSettings(RequestModel):
    """The faults to switch on; the default is none."""

    refuses: StrictBool = False
    """`POST /events` answers 503."""
    copies: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    """Number of times that each message is sent to its topic, under the same id."""


@dataclass
class Faults:
    """The faults that are switched on now."""

    settings: FaultSettings

    def refuse(self) -> None:
        """Dependency of the endpoint that takes events."""
        if self.settings.refuses:
            raise Problem(503, "refusing events: an experiment is running")

    async def sends_copies(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]:
        """ChannelInterceptor."""
        answer = await proceed(messages)
        for _ in range(self.settings.copies - 1):
            answer = await proceed(messages)
        return answer


router = APIRouter(prefix="/faults", include_in_schema=False, dependencies=[OperatorAccess])


@router.get("", summary="The faults that are switched on")
async def read(request: Request) -> FaultSettings:
    found: Faults = request.app.state.faults
    return found.settings


@router.put("", summary="Switch faults on or off")
async def switch(settings: FaultSettings, request: Request) -> FaultSettings:
    request.app.state.faults.settings = settings
    return settings
