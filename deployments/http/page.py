"""The page and its files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import FileResponse, Response

REVALIDATE = {"Cache-Control": "no-cache"}


class PageFiles(StaticFiles):
    """The page's files, asked for anew each time, so that a new version is never mixed with an old one."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - starlette's own
        """The file, or 304 when the browser has it already."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(REVALIDATE)
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at ``/`` and its files below ``/playground``."""
    directory = Path(str(files("playground")))
    app.mount("/playground", PageFiles(directory=directory), name="playground")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return FileResponse(directory / "index.html", headers=REVALIDATE)
