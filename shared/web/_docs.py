"""OpenAPI page at `/docs`: Swagger UI, served by the service itself."""

from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""

_SCRIPT = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""

_ITSELF_ONLY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def add_docs(app: FastAPI) -> None:
    """Add the page. FastAPI's own loads Swagger UI from a CDN and has an inline script."""
    folder = Path(str(files("fastapi_offline"))) / "static"

    @app.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE.format(title=escape(app.title)), headers=_ITSELF_ONLY)

    @app.get("/docs/page.js", include_in_schema=False)
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript", headers=_ITSELF_ONLY)

    for name, media_type in _FILES.items():
        app.add_api_route(f"/docs/{name}", _file(folder / name, media_type), include_in_schema=False)


def _file(path: Path, media_type: str) -> Callable[[], Awaitable[FileResponse]]:
    async def read() -> FileResponse:
        return FileResponse(path, media_type=media_type, headers=_ITSELF_ONLY)

    return read
