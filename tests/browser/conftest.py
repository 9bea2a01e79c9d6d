"""One stack with a worker, the API and the page in front of it, and a headless Chromium, for all tests of the page."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright

from autopay.api.app import create_app
from autopay.api.services import open_services
from autopay.api.serving import ApiServer
from autopay.gateway.serving import url_of
from autopay.listening import listen
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from localnet.stack import Stack

CHROMIUM = os.environ.get("AUTOPAY_CHROMIUM") or shutil.which("chromium")


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
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The stack and its page."""
    home = tmp_path_factory.mktemp("browser") / "home"
    async with Stack(home, slot_ms=50, workers=1, ephemeral=True) as addresses:
        settings = Settings.load(home=home).resolve()
        with listen("127.0.0.1", 0) as listening:
            async with open_services(settings) as services:
                server = ApiServer(services.access.gate(create_app(services)), listening, services.stream.stop)
                serving = asyncio.create_task(server.run())
                yield Served(url_of(listening), addresses, settings)
                server.stop()
                await serving


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, or that of AUTOPAY_CHROMIUM."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: install Debian's package chromium, or name one in AUTOPAY_CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def browser(chromium: Browser, served: Served) -> AsyncIterator[BrowserContext]:
    """A browser without history or cookies."""
    context = await chromium.new_context(base_url=served.url)
    context.set_default_timeout(15_000)
    yield context
    await context.close()
