"""One stack, one server of the page and one browser for all tests here. Without Chromium they are skipped."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from autopay.api.app import create_app
from autopay.api.page.frame.assets import missing_files
from autopay.api.services import open_services
from autopay.api.serving import ApiServer
from autopay.listening import listen
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from tests.browser.hostile_seller import HostileSeller
from tests.stack.shell import Shell
from tests.stack.town import Town, open_town

HOST = "127.0.0.1"
PATIENCE_MS = 30_000
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """The browser's program: `AUTOPAY_CHROMIUM`, or the one that the system has."""
    return os.environ.get("AUTOPAY_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed: `apt-get install chromium`, or name one in AUTOPAY_CHROMIUM")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # it does not start as root with one
    async with async_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        started = await playwright.chromium.launch(executable_path=program, args=as_root)
        yield started
        await started.close()


class PageServer:
    """The page's server, which tests stop and start again at the same port."""

    def __init__(self, settings: Settings, *, tokens_wanted: bool = False) -> None:
        self._settings = settings
        self._tokens_wanted = tokens_wanted
        self._open = AsyncExitStack()
        self._port = _free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Serve."""
        services = await self._open.enter_async_context(
            open_services(self._settings, tokens_wanted=self._tokens_wanted)
        )
        app = services.access.gate(create_app(services))
        self._server = ApiServer(app, listen(HOST, self._port), services.stream.stop)
        self._serving = asyncio.ensure_future(self._server.run())

    async def stop(self) -> None:
        """End, as at Ctrl-C."""
        self._server.stop()
        await self._serving
        await self._open.aclose()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Watched:
    """A browser's page and everything that it complained of."""

    page: Page
    wrong: list[str] = field(default_factory=list)


@dataclass
class Site:
    """The page in a browser, on a running stack."""

    town: Town
    server: PageServer
    browser: Browser
    shell: Shell
    hostile: HostileSeller

    async def open(self, path: str, context: BrowserContext | None = None, *, script: bool = True) -> Watched:
        """A new tab on that path. What must never happen is noted: an error of a script, a violation of the policy, a
        request to another host.
        """
        place = context or await self.browser.new_context(java_script_enabled=script)
        page = await place.new_page()
        page.set_default_timeout(PATIENCE_MS)
        watched = Watched(page)
        page.on("pageerror", lambda error: watched.wrong.append(f"error: {error}"))
        page.on("console", lambda said: _note_console(watched, said.type, said.text))
        page.on("request", lambda asked: _note_request(watched, asked.url, self.server.url))
        await page.goto(self.server.url + path)
        return watched


def _note_console(watched: Watched, kind: str, text: str) -> None:
    is_outage = "Failed to load resource" in text or "net::ERR" in text
    if kind in ("error", "warning") and not is_outage:
        watched.wrong.append(f"{kind}: {text}")


def _note_request(watched: Watched, url: str, own: str) -> None:
    if not url.startswith((own, "data:", "blob:")):
        watched.wrong.append(f"asked {url}")


@pytest.fixture(scope="package")
async def site(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """An agent that pays by itself, one that asks a person, a hostile seller, and the page."""
    missing = missing_files()
    assert missing is None, missing
    home: Path = tmp_path_factory.mktemp("browser") / "home"
    async with open_town(home) as town, HostileSeller() as hostile:
        server = PageServer(town.settings)
        shell = Shell(home)
        await shell("launch", "careful", "--phase", "interactive", "--allowance", "1")
        await server.start()
        yield Site(town, server, chromium, shell, hostile)
        await server.stop()


@dataclass
class Served:
    """A stack whose page is served at `url`."""

    url: str
    addresses: StackFile
    settings: Settings

    @property
    def home(self) -> Path:
        """The stack's folder."""
        return Path(self.addresses.home)


@pytest.fixture(scope="package")
async def served(site: Site) -> Served:
    """The stack and its page."""
    return Served(site.server.url, site.town.addresses, site.town.settings)


@pytest.fixture
async def browser(chromium: Browser, served: Served) -> AsyncIterator[BrowserContext]:
    """A browser without history or cookies."""
    context = await chromium.new_context(base_url=served.url)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


def problems(found: Sequence[dict[str, object]]) -> list[str]:
    """What axe found, in lines."""
    return [f"{each['id']}: {each['help']} {each['targets']}" for each in found]
