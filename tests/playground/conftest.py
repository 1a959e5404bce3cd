"""A browser, and the page over a shop in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from cluster.child import wait_until
from deployments.admission import Admission, AdmissionConfig
from deployments.http.api import http_api
from tests.playground.film_shop import FilmShop

QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
NO_UPDATES = ("--disable-component-update", "--disable-sync")


@dataclass
class Watch:
    """What went wrong in a page, and where it asked."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def follow(self, page: Page) -> None:
        """Note everything from now on."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Of one module only: while it runs, its loop keeps asynchronous tests from running."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium on the PATH (Debian: apt-get install chromium)")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=[*QUIET, *NO_UPDATES, *sandbox])
        yield launched
        launched.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def page(browser: Browser, watch: Watch) -> Iterator[Page]:
    """An empty page of its own, in English, 1280 x 800."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(15_000)
    opened = context.new_page()
    watch.follow(opened)
    yield opened
    context.close()


@pytest.fixture
def shop() -> FilmShop:
    return FilmShop()


@pytest.fixture
def shop_url(shop: FilmShop) -> Iterator[str]:
    """Where the page and the API over *shop* are served."""
    with served(shop) as url:
        yield url


@contextlib.contextmanager
def served(shop: FilmShop) -> Iterator[str]:
    app = http_api(shop, Admission(AdmissionConfig()))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    assert wait_until(lambda: server.started, timeout_s=10)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    shop.held.set()
    server.should_exit = True
    thread.join(timeout=10)
