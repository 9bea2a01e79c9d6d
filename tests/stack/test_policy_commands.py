"""`policy`, `approvals`, `approve` and `deny` against a running stack; what waits for a person is its own process."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autopay.settings.stack_file import StackFile
from tests.stack.shell import Shell
from tests.stack.up import PATIENCE_S, starter

SELLER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


@dataclass
class Person(Shell):
    """Somebody who answers for the money; `feed` is a paid address."""

    feed: str

    async def question(self, request: str) -> dict[str, Any]:
        """What is asked about that request, once it is."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for row in await self.json("approvals", "careful"):
                if row["terms"]["request_id"] == request:
                    found: dict[str, Any] = row
                    return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"nobody is asked about {request}")


@pytest.fixture(scope="module")
async def person(common_stack: StackFile) -> Person:
    someone = Person(Path(common_stack.home), common_stack.market_api + "/api/market-feed")
    await someone("launch", "careful", "--phase", "interactive", "--allowance", "1")
    return someone


async def test_a_policy_is_set_shown_and_says_what_changed(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[limits]\nper_host_day = "0.0015"\n[approvals]\nauto_up_to = "0.002"\n')
    changed = (await person("policy", "set", str(file), "--agent", "careful"))[0]
    assert [line.split() for line in changed.splitlines()[1:]] == [
        ["limits.per_host_day", "no", "limit", "0.0015", "USD"],
        ["approvals.auto_up_to", "0", "USD", "0.002", "USD"],
    ]
    await person("request", person.feed, "--agent", "careful")
    refused = await person.json("request", person.feed, "--agent", "careful", code=3)
    assert (refused["error"]["type"], refused["transaction"]) == ("host_day_limit", None)

    shown = await person.json("policy", "show", "careful")
    host = person.feed.split("/")[2]
    assert (shown["whose"], shown["phase"], shown["spent_today_atomic"]) == ("its own", "INTERACTIVE", 1000)
    assert shown["by_host_today_atomic"] == {host: 1000}
    assert (shown["sessions"][0]["left_atomic"], shown["sessions"][0]["payments_left"]) == (999_000, 99)
    text = (await person("policy", "show", "careful"))[0]
    assert "0.001 USD, 0.0005 USD left" in text
    assert "0.999 USDC of 1 USDC" in text

    file.write_text("")
    assert (await person("policy", "set", str(file), "--agent", "careful"))[0].count("no limit") == 1


async def test_payees_are_listed_and_accepted_by_origin(person: Person) -> None:
    await person("policy", "accept", "https://API.example.com/some/path", SELLER)
    rows = await person.json("policy", "payees")
    assert [(row["origin"], row["accepted_by"]) for row in rows if row["pay_to"] == SELLER] == [
        ("https://api.example.com:443/", "a person")
    ]


async def test_a_request_says_what_it_waits_for_and_is_paid_when_a_person_approves(person: Person) -> None:
    asking = asyncio.create_task(
        starter("request", person.feed, "--agent", "careful", "--id", "yes", "--home", str(person.home))
    )
    question = await person.question("yes")
    assert (question["amount"], question["terms"]["url"], question["status"]) == ("0.001000", person.feed, "PENDING")
    listed = (await person("approvals", "careful"))[0]
    for said in (question["approval_id"], "0.001 USDC to", question["terms"]["mint"], f"GET {person.feed}", "left"):
        assert said in listed
    assert "payments wait for a person: autopay approvals careful" in (await person("status", "careful"))[0]
    # As a process it comes late enough: the one that asks must have said what it waits for.
    code, out, err = await starter("approve", question["approval_id"][:-4], "--wait", "--home", str(person.home))
    assert (code, "approved" in err) == (0, True)
    assert "yes: delivered, paid 0.001" in out
    code, content, remarks = await asking
    assert (code, "quotes" in content) == (0, True)
    assert f"waits for approval {question['approval_id']}: {question['why']}; to approve: " in remarks
    assert f"starter.py approve {question['approval_id']} --home" in remarks


async def test_a_request_that_a_person_denies_is_refused(person: Person) -> None:
    asking = asyncio.create_task(
        starter("request", person.feed, "--agent", "careful", "--id", "no", "--home", str(person.home), "--json")
    )
    question = await person.question("no")
    assert "denied" in (await person("deny", question["approval_id"]))[1]
    code, out, _ = await asking
    assert (code, json.loads(out)["error"]["type"]) == (3, "approval_denied")
