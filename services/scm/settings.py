"""Settings of the SCM service."""

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared.runtime.settings import HttpUrl, Port, reject_development_tokens
from shared.runtime.tokens import NamedToken, NamedTokens, Token, development_token
from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings):
    """Environment variables of the SCM service; common ones are in EventDrivenSettings."""

    order_url: HttpUrl = "http://127.0.0.1:8001"
    port: Port = 8003
    service_token: Token = Field(development_token("scm"), validate_default=True)
    carrier_tokens: NamedTokens = ()
    """Tokens of carriers for the external API: `name:token`, separated by commas."""
    supplier_tokens: NamedTokens = ()
    """Tokens of suppliers for their own purchase orders: `name:token`, with the name of the supply."""

    @field_validator("carrier_tokens", "supplier_tokens")
    @classmethod
    def _validate_partner_tokens(
        cls, partners: tuple[NamedToken, ...], info: ValidationInfo
    ) -> tuple[NamedToken, ...]:
        return reject_development_tokens(partners, info)

    @model_validator(mode="after")
    def _require_distinct_tokens(self) -> "Settings":
        named = (*self.service_tokens, *self.operator_tokens, *self.carrier_tokens, *self.supplier_tokens)
        if len({each.token for each in named}) < len(named):
            raise ValueError("a token must not occur in two variables")
        return self
