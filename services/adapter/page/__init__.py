"""The page at the adapter's root: plain files, no build step, nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent / "files"

_ITSELF_ONLY = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
}


def serve(app: FastAPI) -> None:
    """Adds the page to the application."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_FOLDER / "index.html", headers=_ITSELF_ONLY)

    app.mount("/page", StaticFiles(directory=_FOLDER))
