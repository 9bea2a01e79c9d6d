"""The page in a real browser, on a real stack: live, acting, attacked, cut off."""

import asyncio
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from playwright.async_api import Page, expect

from autopay.domain.report.flow import STEPS
from tests.browser.conftest import PATIENCE_MS, Site, problems
from tests.stack.town import FEED, INSIGHT

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
FOLLOW = """() => {
  window.told = [];
  document.getElementById("stream").addEventListener("htmx:sse:before:message", (event) => {
    if (event.detail.message.event === "ledger") window.told.push(event.detail.message.id);
  });
}"""
WIDTHS = "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.documentElement)"
FIND = """async (rules) => {
  const options = { resultTypes: ["violations"], ...(rules ? { runOnly: { type: "rule", values: rules } } : {}) };
  const { violations } = await axe.run(options);
  return violations.map(({ id, help, nodes }) => ({ id, help, targets: nodes.map((node) => node.target.join(" ")) }));
}"""
VIEWS = (
    "/",
    "/agents",
    "/agents/careful",
    "/payments",
    "/requests/recovers/seen",
    "/approvals",
    "/disputes",
    "/sessions",
    "/spend",
    "/sellers",
    "/audit",
    "/agents/nobody",
)


async def live(page: Page) -> None:
    """Wait until events come."""
    await expect(page.locator("body")).to_have_attribute("data-live", "on", timeout=PATIENCE_MS)


async def bought(site: Site, request_id: str, url: str | None = None) -> None:
    """Have the agent buy something, and wait until it is final."""
    await site.town.ask(request_id, url or f"{site.town.addresses.market_api}{FEED}")
    await site.town.ended(request_id)


def spent_text(figure: str) -> Decimal:
    """The amount of a figure of the overview, as in "Spent today 0.001 USDC"; other tests have bought as well."""
    found = re.search(r"\d+\.\d+", figure)
    assert found is not None, figure
    return Decimal(found[0])


async def test_a_payment_flows_through_its_six_steps_while_the_stack_buys(site: Site) -> None:
    watched = await site.open("/")
    page = watched.page
    await live(page)
    spent = page.locator(".figures > div").first
    before = spent_text(await spent.inner_text())
    await site.town.weather(site.town.addresses.market_api, latency_ms=1_500)
    await site.town.ask("seen", f"{site.town.addresses.market_api}{FEED}")
    row = page.locator("#flow li", has_text=FEED).first
    await expect(row).to_be_visible(timeout=PATIENCE_MS)
    await expect(row.locator(".steps li.now")).to_have_count(1)
    await expect(row).to_contain_text("recovers")
    await site.town.weather(site.town.addresses.market_api)
    await expect(row.locator(".steps li.done")).to_have_count(len(STEPS), timeout=PATIENCE_MS)
    await expect(row).to_contain_text("0.001 USDC")
    await expect(row).to_contain_text("final on chain")
    await expect(spent).to_contain_text(f"{before + Decimal('0.001')} USDC", timeout=PATIENCE_MS)
    await row.locator("a").click()
    await expect(page.locator("h1")).to_have_text(FEED)
    await expect(page.locator(".timeline")).to_contain_text("402, a price is asked")
    await expect(page.locator(".content").last).to_contain_text("quotes")
    assert watched.wrong == []
    await page.context.close()


async def test_a_person_approves_exactly_the_terms_that_are_shown(site: Site) -> None:
    watched = await site.open("/approvals")
    page = watched.page
    await live(page)
    url = f"{site.town.addresses.knowledge_api}{INSIGHT}"
    asking = asyncio.ensure_future(
        site.shell("request", url, "--agent", "careful", "--id", "asked", "--max-price", "0.01")
    )
    question = page.locator(".ask")
    await expect(question).to_be_visible(timeout=PATIENCE_MS)
    await expect(question).to_contain_text("0.002 USDC")
    await expect(question).to_contain_text(url)
    await expect(page.locator("#nav .count")).to_have_text(re.compile("1"), timeout=PATIENCE_MS)
    await question.get_by_role("button", name="Approve these terms").click()
    await expect(page).to_have_url(re.compile("told=approved"))  # the notice itself goes with the next event
    await asking
    await expect(page.locator(".ask")).to_have_count(0, timeout=PATIENCE_MS)
    await expect(page.get_by_text("approved and paid")).to_be_visible(timeout=PATIENCE_MS)
    assert watched.wrong == []
    await page.context.close()


async def test_an_agent_is_paused_and_goes_on(site: Site) -> None:
    watched = await site.open("/agents/recovers")
    page = watched.page
    await page.get_by_text("Pause", exact=True).click()
    await page.get_by_label("Reason").fill("<b>maintenance</b>")
    await page.get_by_role("button", name="Pause recovers").click()
    await live(page)
    await expect(page.locator("h1 .badge")).to_have_text("paused", timeout=PATIENCE_MS)
    await expect(page.locator(".head .sub")).to_contain_text("<b>maintenance</b>")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("h1 .badge")).to_have_text("running", timeout=PATIENCE_MS)
    assert watched.wrong == []
    await page.context.close()


async def test_a_sellers_text_is_text(site: Site) -> None:
    await bought(site, "free", f"{site.hostile.url}/free?q=<script>window.taken=1</script>")
    await bought(site, "terms", f"{site.hostile.url}/terms")
    watched = await site.open("/requests/recovers/free")
    page = watched.page
    content = page.locator("pre").last
    await expect(content).to_contain_text("<script>window.taken=1</script>")
    await expect(content).to_contain_text("cost⟨U+202E⟩00.1 DSU⟨U+200B⟩")
    for path in ("/requests/recovers/terms", "/", "/payments", "/sellers", "/spend", "/audit", "/agents/recovers"):
        await page.goto(site.server.url + path)
        await live(page)
        assert await page.evaluate("window.taken === undefined")
        assert await page.locator("main :is(script, img, iframe)").count() == 0
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b]", await page.inner_text("body"))
    assert watched.wrong == []
    await page.context.close()


async def test_an_outage_is_told_and_no_event_is_lost(site: Site) -> None:
    watched = await site.open("/")
    page = watched.page
    await live(page)
    await page.evaluate(FOLLOW)
    start = await page.get_attribute("#stream", "hx-sse:connect") or ""
    await bought(site, "before")
    await site.server.stop()
    await expect(page.locator("body")).to_have_attribute("data-live", "off", timeout=PATIENCE_MS)
    await expect(page.get_by_role("alert")).to_contain_text("Not live since")
    await bought(site, "meanwhile")
    await site.server.start()
    await live(page)
    await bought(site, "after")
    await expect(page.locator("#flow li", has_text="recovers").first).to_be_visible()
    after = start.partition("after=")[2].replace("%3A", ":")
    expected = [event.cursor for event in await site.town.ledger.events.page(after=after)]
    await page.wait_for_function("(last) => window.told.includes(last)", arg=expected[-1], timeout=PATIENCE_MS)
    told: Sequence[str] = await page.evaluate("window.told")
    assert list(told[: len(expected)]) == expected
    assert [each for each in watched.wrong if "Failed to fetch" not in each] == []
    await page.context.close()


async def test_every_view_is_accessible_in_light_and_dark_fits_a_small_phone_and_asks_nobody_else(site: Site) -> None:
    watched = await site.open("/")
    page = watched.page
    wrong: dict[str, object] = {}
    for path in VIEWS:
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.emulate_media(color_scheme="light")
        await page.goto(site.server.url + path)
        await page.evaluate(AXE.read_text())
        found = problems(await page.evaluate(FIND, None))
        await page.emulate_media(color_scheme="dark")
        found += problems(await page.evaluate(FIND, ["color-contrast"]))
        await page.set_viewport_size({"width": 360, "height": 740})
        wide, room = await page.evaluate(WIDTHS)
        if found or wide > room:
            wrong[path] = (found, wide, room)
    assert wrong == {}
    assert watched.wrong == []
    await page.context.close()


async def test_every_view_can_be_read_without_scripts(site: Site) -> None:
    watched = await site.open("/", script=False)
    page = watched.page
    for path, text in (
        ("/", "needs you"),
        ("/payments", "final"),
        ("/requests/recovers/seen", "final on chain"),
        ("/spend", "By seller"),
    ):
        await page.goto(site.server.url + path)
        await expect(page.locator("main")).to_contain_text(text, ignore_case=True)
    await page.context.close()
