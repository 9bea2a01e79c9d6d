"""What a person does on the page of a running stack: deny, stop, revoke, log in and out; and who may not."""

import dataclasses
import re
from typing import Any

from playwright.async_api import expect
from temporalio.client import WorkflowHandle

from autopay.domain.request import RequestSpec, RequestStatus, agent_workflow_id
from tests.browser.conftest import PageServer, Site
from tests.stack.town import FEED, INSIGHT, SLOW_MS

ALIGNED = """(() => {
  const names = [...document.querySelectorAll("#flow .flow-head .steps li")];
  const steps = [...document.querySelectorAll("#flow .flow li")].find((row) => row.querySelector(".steps"));
  const marks = [...steps.querySelectorAll(".steps li")];
  return names.every((name, at) => {
    const one = name.getBoundingClientRect(), other = marks[at].getBoundingClientRect();
    return Math.abs(one.left - other.left) < 2 && Math.abs(one.right - other.right) < 2
      && name.scrollWidth <= name.clientWidth;
  });
})()"""

NOTE_BUTTONS = """document.addEventListener("DOMContentLoaded", () => {
  window.off = [...document.querySelectorAll("form:has(input[name=terms]) button")].map((button) => button.disabled);
})"""


async def test_one_of_two_questions_is_denied_and_a_second_click_does_not_reach_the_other(site: Site) -> None:
    url = f"{site.town.addresses.knowledge_api}{INSIGHT}"
    careful: WorkflowHandle[Any, Any] = site.town.client.get_workflow_handle(agent_workflow_id("careful"))
    for name in ("first", "second"):
        await careful.execute_update("request", RequestSpec(request_id=name, url=url))
    watched = await site.open("/approvals")
    page = watched.page
    await page.add_init_script(NOTE_BUTTONS)
    questions = page.locator(".ask")
    await expect(questions).to_have_count(2)
    first = await questions.first.get_by_role("link", name="first", exact=True).count()
    await questions.first.get_by_role("button", name="Deny").click()
    await expect(page).to_have_url(re.compile("told=denied"))  # the notice itself goes with the next event
    assert await page.evaluate("window.off") == [True, True], "no click decides before somebody can have read it"
    await expect(questions).to_have_count(1)
    await questions.get_by_role("button", name="Deny").click()
    await expect(questions).to_have_count(0)
    assert first == 1, "the question that came first stands first"
    assert watched.wrong == []
    await page.context.close()


async def test_a_seller_is_asked_again_for_what_was_paid(site: Site) -> None:
    town = site.town
    seller = town.addresses.knowledge_api
    await town.weather(seller, latency_ms=SLOW_MS)
    await town.ask("owed", seller + INSIGHT)
    await town.sent("owed")
    await town.weather(seller, lose_answers=1)
    assert (await town.ended("owed")).status is RequestStatus.UNDELIVERED
    watched = await site.open("/disputes")
    page = watched.page
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="owed", exact=True))
    await expect(row).to_have_count(1)
    await town.weather(seller)
    await row.get_by_role("button", name="Ask again").click()
    await expect(page).to_have_url(re.compile("told=asked"))
    await expect(row).to_have_count(0)
    result = await town.ledger.requests.result(town.key("owed"))
    assert (result.status, result.attempts) == (RequestStatus.DELIVERED, 1), "it came, and nothing was paid again"
    [order] = await town.ledger.operator_actions.newest(agent=town.agent, limit=1)
    assert (order.action, order.target, order.outcome) == ("retry", "owed", "done")
    assert watched.wrong == []
    await page.context.close()


async def test_the_six_steps_have_names_at_every_width(site: Site) -> None:
    await site.town.ask("named", site.town.addresses.market_api + FEED)
    await site.town.ended("named")
    watched = await site.open("/")
    page = watched.page
    for width in (360, 700, 1280, 1920):
        await page.set_viewport_size({"width": width, "height": 900})
        names = page.locator("#flow .flow-head .steps li")
        await expect(names).to_have_count(6)
        for number in range(6):
            await expect(names.nth(number)).to_be_visible()
        is_aligned = await page.evaluate(ALIGNED)
        assert is_aligned, f"each name stands above its step at {width} pixels, and is not cut"
    assert watched.wrong == []
    await page.context.close()


async def test_a_session_is_revoked_and_an_agent_stopped(site: Site) -> None:
    await site.shell("launch", "short", "--phase", "full", "--allowance", "1")
    watched = await site.open("/sessions")
    page = watched.page
    row = page.get_by_role("row").filter(has_text="short")
    await row.get_by_text("Revoke", exact=True).click()
    await row.get_by_role("button", name="Revoke this session").click()
    await expect(page).to_have_url(re.compile("told=revoked"))
    await expect(page.get_by_role("row").filter(has_text="short")).to_contain_text("revoked", ignore_case=True)
    await page.goto(f"{site.server.url}/agents/short")
    await page.get_by_text("Stop", exact=True).click()
    await page.get_by_role("button", name="Stop short").click()
    await expect(page.locator("h1 .badge")).to_have_text("stopped")
    assert watched.wrong == []
    await page.context.close()


async def test_where_tokens_are_needed_a_browser_logs_in_reads_and_logs_out(site: Site) -> None:
    token = (await site.shell.json("token", "make", "reader"))["token"]
    server = PageServer(site.town.settings, tokens_wanted=True)
    await server.start()
    other = dataclasses.replace(site, server=server)
    watched = await other.open("/agents/recovers")
    page = watched.page
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.get_by_label("Token").fill("not a token")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert").filter(has_text="Not logged in.")).to_be_visible()
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("h1")).to_contain_text("recovers")
    await expect(page.get_by_text("Pause", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Log reader out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.goto(f"{server.url}/agents/recovers")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert watched.wrong == []
    await page.context.close()
    await server.stop()


async def test_an_address_that_is_nowhere_is_a_page_and_a_foreign_link_tells_nothing(site: Site) -> None:
    watched = await site.open("/nowhere")
    page = watched.page
    await expect(page.locator("h1")).to_have_text("There is nothing here")
    await page.goto("about:blank")
    await page.set_content(f'<a href="{site.server.url}/approvals?told=approved">Look</a>')
    await page.get_by_role("link", name="Look").click()
    await expect(page.locator("h1")).to_contain_text("for a person")
    await expect(page.get_by_role("status").filter(has_text="Approved.")).to_have_count(0)
    await page.context.close()
