"""The page at the console's root: plain files, no build step, nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent / "files"

_ITSELF_ONLY = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
}


def serve(app: FastAPI, *, laboratory: bool) -> None:
    """Add the page to the application. Without a laboratory it has no buttons for demo orders and
    experiments."""
    page = (_FOLDER / "index.html").read_text(encoding="utf-8")
    if laboratory:
        page = page.replace("data-laboratory hidden", "data-laboratory")

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_ITSELF_ONLY)

    app.mount("/page", StaticFiles(directory=_FOLDER))
