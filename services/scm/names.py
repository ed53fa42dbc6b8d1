"""What SCM takes for an order's id, an article, a supplier and a number of pieces, at every door alike."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.web.request import Integral

OrderId = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{20}$")]

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Of an article (its sku), or of a supplier."""

LastName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$")]
"""The one that ended the page before; empty for the first page."""

Pieces = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000), Integral]
