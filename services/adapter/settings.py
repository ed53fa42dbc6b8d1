"""Settings of the Adapter service."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from shared.runtime.settings import EnvironmentSettings, HttpUrl, Port, ServiceSettings
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, Token, development_token

_TOPIC_ARN = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?")


def _topic_arns(value: object) -> object:
    """Parse `arn,arn`."""
    if not isinstance(value, str):
        return value
    arns = tuple(arn.strip() for arn in value.split(","))
    for arn in arns:
        if not _TOPIC_ARN.fullmatch(arn):
            raise ValueError(f"{arn!r} is not the ARN of a topic: arn:aws:sns:REGION:ACCOUNT:TOPIC")
    return arns


class RoutesSettings(EnvironmentSettings):
    """Settings of the `routes` commands: the file, and the services whose recorded events they read."""

    routes_file: Path = Path(__file__).parent / "routes.toml"
    order_url: HttpUrl = "http://127.0.0.1:8001"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    service_token: Token = Field(development_token("adapter"), validate_default=True)


class DryRunSettings(RoutesSettings):
    """Settings of the `routes dry-run` command: the adapter whose routes it compares with."""

    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    operator_token: Token = DEVELOPMENT_OPERATOR.token


class Settings(RoutesSettings, ServiceSettings):
    """Settings of the service."""

    port: Port = 8002
    topic_arns: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_topic_arns)] = ()
    """ARNs of the routes' topics, separated by commas. Required in production, where the adapter may publish
    and nothing else; in development, a topic without one is looked up or created."""
