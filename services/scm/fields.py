"""Field types of SCM's messages and REST API."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.web import Integral

OrderId = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{20}$")]

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Name of an article (its SKU) or of a supplier."""

NameCursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$")]
"""Last name of the page before; empty for the first page."""

Pieces = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000), Integral]
"""Number of pieces of an article."""
