"""A wallet in a real browser grants and revokes sessions on the embedded chain; Lighthouse, which that chain has not
got, is in `tests/unit/test_wallet_changes.py`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.solana.owner.owner_transaction import OwnerNode
from autopay.delegation.connections import mint_of, owner_node
from autopay.domain.money import Currency
from autopay.domain.session import SessionRecord
from localnet.tokens import ensure_sol, faucet
from tests.browser.conftest import Served
from tests.browser.wallet import ADDS_A_BUDGET, BrowserWallet, adds_a_transfer
from tests.stack.shell import Shell

MONEY, RENT, FEE = 5_000_000, 2_039_280, 5_000
PATIENCE_MS = 20_000

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIOLATIONS = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => `${id} ${nodes[0].target}`))"
WIDTHS = "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.documentElement)"


@dataclass
class Owner:
    """Somebody with a wallet, in front of the page."""

    page: Page
    wallet: BrowserWallet
    ledger: PostgresLedger
    node: OwnerNode
    usdc: str

    async def draft(self, agent: str, allowance: str = "0.5", **more: str) -> None:
        """Fill in the form, and have the page show what is to be signed."""
        await self.page.goto("/delegate")
        for label, value in {"Agent": agent, "At most, in all": allowance, **more}.items():
            await self.page.get_by_label(label).fill(value)
        await self.page.get_by_role("button", name="Show what is to be signed").click()
        await expect(self.page.get_by_role("heading", name="is asked to sign")).to_be_visible(timeout=PATIENCE_MS)

    async def sign(self) -> None:
        """Have the wallet sign it."""
        await self.page.get_by_role("button", name=f"Sign with {self.wallet.name}").click()

    async def is_told(self, *texts: str) -> None:
        """The page says that in the end."""
        for text in texts:
            await expect(self.page.locator("[data-part=outcome]")).to_contain_text(text, timeout=PATIENCE_MS)

    async def session(self, agent: str) -> SessionRecord:
        (record,) = await self.ledger.sessions.list(agent)
        return record

    async def lamports(self) -> int:
        found = await self.node.raw_account(self.wallet.key.pubkey())
        assert found is not None
        return found[2]

    async def has_account(self, record: SessionRecord) -> bool:
        return await self.node.raw_account(Pubkey.from_string(record.source_account)) is not None


@pytest.fixture
async def owner(served: Served, browser: BrowserContext) -> AsyncIterator[Owner]:
    wallet, settings = BrowserWallet(), served.settings
    usdc = mint_of(settings, Currency.USDC)
    await ensure_sol(settings.solana_rpc_url, wallet.key.pubkey())
    await faucet(settings.solana_rpc_url, wallet.key.pubkey(), Pubkey.from_string(usdc), MONEY)
    await wallet.install(browser)
    page, wrong = await browser.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    ledger = open_ledger(settings.database_url)
    async with owner_node(settings) as node:
        yield Owner(page, wallet, ledger, node, usdc)
    await ledger.dispose()
    assert wrong == []


async def test_a_wallet_grants_a_session_with_which_an_agent_buys_and_gets_the_rest_back(
    owner: Owner, served: Served
) -> None:
    agent, shell, page = "delegated", Shell(served.home), owner.page
    host = served.addresses.market_api.removeprefix("http://")
    await owner.draft(agent, Payments="7", For="2h", **{"Only these hosts (none: any)": host})
    words = await page.locator("[data-part=words]").inner_text()
    assert "moves 0.5 USDC into it" in words
    assert f"allows 7 payments within 2 h of the grant, to {host} only" in words
    assert "lends it 0.002039 SOL of rent, which a revoke gives back" in words
    assert owner.wallet.asked == [], "it is read before the wallet is asked"
    await owner.sign()
    await owner.is_told("Granted: the chain shows it", "can spend 0.5 USDC")

    await shell("launch", agent, "--phase", "full", "--no-grant")
    bought = await shell.json("request", f"{served.addresses.market_api}/api/market-feed", "--agent", agent)
    assert bought["status"] in ("delivered", "DELIVERED")
    record = await owner.session(agent)
    assert record.reserved_atomic > 0
    await shell("stop", agent)

    async def nothing_open() -> bool:
        return (await owner.session(agent)).open_payments == 0

    await page.goto(f"/delegate/{record.session_id}")
    while True:
        await page.get_by_role("button", name="End the session now").click()
        outcome = page.locator("[data-part=outcome]")
        ready = page.get_by_role("heading", name="is asked to sign")
        await expect(outcome.or_(ready).first).to_be_visible(timeout=PATIENCE_MS)
        if await ready.is_visible():
            break
        assert "of its payments are open" in await outcome.inner_text()
    await owner.sign()
    await owner.is_told("Revoked", "USDC went back to its owner")
    assert not await owner.has_account(record)
    assert (await owner.session(agent)).status == "REVOKED"


async def test_what_a_person_refuses_in_the_wallet_is_signed_later(owner: Owner) -> None:
    owner.wallet.refusal = (4001, "User rejected the request.")
    await owner.draft("undecided")
    before = await owner.lamports()
    await owner.sign()
    await owner.is_told("You refused it in Test Wallet. Nothing was sent")
    record = await owner.session("undecided")
    assert not record.granted
    assert await owner.lamports() == before

    owner.wallet.refusal = (-32603, "Internal error")
    await owner.sign()
    await owner.is_told("Test Wallet did not sign: Internal error")

    owner.wallet.refusal = None
    await owner.page.goto(f"/delegate/{record.session_id}")
    await owner.page.get_by_role("button", name="Show what is to be signed").click()
    await owner.sign()
    await owner.is_told("Granted: the chain shows it")
    assert (await owner.session("undecided")).granted


async def test_a_wallet_may_add_a_priority_fee_and_is_charged_it(owner: Owner) -> None:
    owner.wallet.change = ADDS_A_BUDGET
    await owner.draft("hurried")
    before = await owner.lamports()
    await owner.sign()
    await owner.is_told("Granted: the chain shows it")
    assert await owner.lamports() == before - RENT - FEE - 1_600


async def test_a_wallet_that_adds_a_transfer_is_refused_before_anything_is_sent(owner: Owner) -> None:
    thief = Keypair()
    owner.wallet.change = adds_a_transfer(owner.wallet.key, thief)
    await owner.draft("robbed")
    before = await owner.lamports()
    await owner.sign()
    await owner.is_told("This did not work", "the wallet added or changed instructions")
    record = await owner.session("robbed")
    assert not record.granted
    assert await owner.lamports() == before
    assert not await owner.has_account(record)
    assert await owner.node.raw_account(thief.pubkey()) is None


async def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_sent_twice(owner: Owner) -> None:
    async def lose(route: Route) -> None:
        await route.fetch()  # the server has done it, as one that is killed while it answers
        await route.abort()

    await owner.draft("cut-off")
    before = await owner.lamports()
    await owner.page.route("**/signed", lose, times=1)
    await owner.sign()
    await owner.is_told("It is not known whether it was sent")
    await expect(owner.page.get_by_role("button", name="Back")).to_be_hidden()  # to no second grant
    await owner.page.get_by_role("button", name="Ask again").click()
    await owner.is_told("Granted: the chain shows it")
    assert await owner.lamports() == before - RENT - FEE
    assert len(owner.wallet.asked) == 1


async def test_no_state_of_the_view_has_a_barrier_or_is_wider_than_a_phone(owner: Owner) -> None:
    page, found = owner.page, list[str]()

    async def look(state: str) -> None:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            found.extend(f"{state}, {scheme}: {each}" for each in await page.evaluate(VIOLATIONS))
        wide, fits = await page.evaluate(WIDTHS)
        assert wide <= fits, state

    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto("/delegate")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    await look("what it may spend")
    await owner.draft("narrow")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    await look("what is to be signed")
    owner.wallet.refusal = (4001, "User rejected the request.")
    await owner.sign()
    await owner.is_told("You refused it")
    await look("refused")
    await page.goto(f"/delegate/{(await owner.session('narrow')).session_id}")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    await look("a session that waits")
    assert found == []


async def test_what_the_server_refuses_is_told_in_its_words(owner: Owner) -> None:
    await owner.page.goto("/delegate")
    await owner.page.get_by_label("Agent").fill("too-poor")
    await owner.page.get_by_label("At most, in all").fill("1000")
    await owner.page.get_by_role("button", name="Show what is to be signed").click()
    await owner.is_told("nothing was sent", "needs 995 more USDC")
    assert owner.wallet.asked == []


async def test_a_browser_without_a_wallet_and_a_wallet_elsewhere_are_told_so(
    browser: BrowserContext, served: Served
) -> None:
    page = await browser.new_page()
    await page.goto("/delegate")
    await expect(page.get_by_text("No wallet that can sign Solana transactions is in this browser")).to_be_visible()
    await BrowserWallet(name="Far Wallet", chains=("solana:mainnet",)).install(browser)
    await page.reload()
    await expect(page.get_by_label("Far Wallet (not on solana:devnet")).to_be_disabled()


async def test_the_view_fits_a_phone_and_says_what_to_do_without_scripts(chromium: Any, served: Served) -> None:
    phone = await chromium.new_context(
        base_url=served.url, viewport={"width": 360, "height": 740}, java_script_enabled=False
    )
    page = await phone.new_page()
    await page.goto("/delegate")
    await expect(page.get_by_text("autopay session grant trader")).to_be_visible()
    assert await page.locator("body").bounding_box() is not None
    box = await page.locator("main").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 360
    await page.goto(f"/delegate/{UUID(int=1)}")
    await expect(page.get_by_text("there is no session")).to_be_visible()
    await phone.close()
