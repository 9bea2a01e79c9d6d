"""The drill: a ledger is lost and restored on the real stack, and nothing is paid twice."""

import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from autopay.adapters.postgres.maintenance.server import MAINTENANCE, Server
from autopay.adapters.solana.history import SolanaHistory
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.agent.status import AgentStatus
from autopay.domain.errors import UnknownRequest
from autopay.domain.reconcile.compare import Payer
from autopay.domain.request import RequestResult, RequestStatus, agent_workflow_id
from tests.stack.town import FEED, INSIGHT, SLOW_MS, Town, open_town, until


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    # Not below pytest's own directory, which the next run closes to the server's account.
    with tempfile.TemporaryDirectory(prefix="autopay-test-") as directory:
        async with open_town(Path(directory) / "home") as town:
            yield town


async def test_a_lost_ledger_comes_back_and_nothing_is_paid_twice(town: Town) -> None:
    market, knowledge = town.addresses.market_api + FEED, town.addresses.knowledge_api + INSIGHT
    kept = await _bought(town, "kept", market)
    await _json(town, "ledger", "anchor")
    backup = await _json(town, "backup")
    assert (backup["chains"] > 0, backup["events"] > 0) == (True, True)

    lost = {"lost": await _bought(town, "lost", market)}
    await town.starter("session", "grant", town.agent, "--allowance", "0.5", "--tx-limit", "100")
    lost["by-new-session"] = await _bought(town, "by-new-session", market)
    payers = await town.ledger.reconciliation.payers()
    await _json(town, "ledger", "anchor")
    await town.weather(town.addresses.knowledge_api, latency_ms=SLOW_MS)
    await town.ask("under-way", knowledge)
    await town.sent("under-way")
    _lose(town)
    await town.weather(town.addresses.knowledge_api)

    restored = await _json(town, "restore", backup["file"], "--yes")
    assert (restored["kept_as"], restored["leftovers"]) == (None, [])
    assert restored["fence"].startswith("restored from ")
    assert (await town.ledger.requests.result(town.key("kept"))).transaction == kept.transaction
    with pytest.raises(UnknownRequest):
        await town.ledger.requests.get(town.key("lost"))

    await town.ask("held", market)
    await _held(town, "held")
    assert (await town.ledger.payments.recall(town.key("held"))).attempts == ()
    booked = await _json(town, "ledger", "reconcile", "--book")
    assert (booked["lifted"], booked["problems"], booked["sessions"]) == (True, [], 1)
    assert booked["payments"] >= len(lost)
    assert (await town.ended("held")).status is RequestStatus.DELIVERED

    for request_id, before in lost.items():
        await town.ask(request_id, market)
        again = await town.ended(request_id)
        assert (again.status, again.transaction) == (RequestStatus.UNDELIVERED, before.transaction)
    await town.ask("under-way", knowledge)
    assert (await town.ended("under-way")).status in (RequestStatus.UNDELIVERED, RequestStatus.DELIVERED)
    assert (await _bought(town, "new", market)).status is RequestStatus.DELIVERED

    report = await town.reconciled()
    assert report.payments == len(["kept", *lost, "under-way", "held", "new"])
    memos = await _memos(town, [*payers, *await town.ledger.reconciliation.payers()])
    assert (len(memos), set(memos.values())) == (report.payments, {1})
    verified = json.loads((await town.starter("ledger", "verify", "--on-chain", "--json", code=1))[0])
    assert [each["reason"] for each in verified["findings"]] == ["anchor_unknown_here"]
    assert "fences.changed" in _kinds(town)


async def _json(town: Town, *arguments: str) -> Any:
    return json.loads((await town.starter(*arguments, "--json"))[0])


async def _bought(town: Town, request_id: str, url: str) -> RequestResult:
    await town.ask(request_id, url)
    result = await town.ended(request_id)
    assert result.status is RequestStatus.DELIVERED, result
    return result


def _lose(town: Town) -> None:
    """The database is gone, in the middle of everything."""
    with Server(town.addresses.database_url).connected(MAINTENANCE) as db:
        db.execute("DROP DATABASE autopay WITH (FORCE)")


async def _held(town: Town, request_id: str) -> None:
    """Wait until the agent says that the request is held."""

    async def told() -> bool:
        handle = town.client.get_workflow_handle(agent_workflow_id(town.agent))
        status: AgentStatus = await handle.query("status", result_type=AgentStatus)
        return request_id in [each.request_id for each in status.held]

    await until(told)


async def _memos(town: Town, payers: list[Payer]) -> Counter[str | None]:
    """How often each memo was paid with, in all the accounts that any of these ledgers knew."""
    async with NodeRpc(town.addresses.solana_rpc, town.settings.network) as rpc:
        chain = SolanaHistory(rpc)
        tip = (await chain.finalized_tip()).slot
        found: set[str] = set()
        for payer in payers:
            async for batch in chain.batches(payer, up_to_slot=tip, before=None, until=None, min_slot=tip):
                found |= {each.signature for each in batch.transfers(payer.currency)}
        return Counter([await chain.memo(signature) for signature in found])


def _kinds(town: Town) -> set[str]:
    with psycopg.connect(town.addresses.database_url) as db:
        return {row[0] for row in db.execute("SELECT kind FROM audit_events")}
