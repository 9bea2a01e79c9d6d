"""`demo`: the main job from end to end on the embedded stack, watched live, with the money counted twice."""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from autopay.adapters.chain import SolanaChain
from autopay.adapters.ledger import PostgresLedger
from autopay.cli.agent_calls import AgentCalls
from autopay.cli.console import out, remarks, say, say_result, show_json, show_table
from autopay.cli.demo_board import Board
from autopay.cli.exits import CommandError, ExitCode, examples
from autopay.cli.launching import LaunchOrder, launch_agent
from autopay.cli.places import ledger_of, run_async, vault_of
from autopay.domain.agent import AgentState, AgentStatus, Phase, Watch
from autopay.domain.money import Currency, show, to_atomic, to_units
from autopay.settings import Settings
from autopay.stack_file import StackFile
from autopay.temporal import connect

PATIENCE_S = 120
POLL_S = 0.15
SEEN_STALE = timedelta(seconds=2)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=examples("demo", "demo --keep", "demo --json | tail -1"))(demo)


def demo(
    home: Annotated[Path | None, typer.Option(help="Where its state is kept.", show_default=".autopay/demo")] = None,
    requests: Annotated[int, typer.Option(min=2, max=100, help="How many deliveries to watch.")] = 10,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Watch an agent buy data: 402, price, signed, submitted, delivered, verified on chain.

    Starts PostgreSQL, Temporal, a Solana chain, a facilitator, two paid APIs and a worker on this machine, lets an
    agent buy from both, pauses and resumes it, and counts the money twice: in the ledger and on the chain.
    Exits 1 when the counts differ.
    """
    try:
        from localnet.child import StackError  # noqa: PLC0415 (an extra that may not be installed)
        from localnet.stack import Stack  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(f"the embedded stack needs {error.name}: pip install 'autopay[localnet]'") from None
    settings = Settings.load(home=home or Path(".autopay/demo"))
    stack = Stack(settings.home, slot_ms=settings.slot_ms, workers=1, report=say)
    try:
        verdict = run_async(_on_stack(stack, settings, requests, keep=keep))
    except StackError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None
    if as_json:
        show_json(verdict.as_json())
    raise typer.Exit(ExitCode.OK if verdict.ok else ExitCode.FAULT)


@dataclass(frozen=True)
class Verdict:
    """The demo's sums; `spent_*` in base units."""

    requests: int
    delivered: int
    verified: int
    spent_ledger: dict[Currency, int]
    spent_chain: dict[Currency, int]

    @property
    def ok(self) -> bool:
        """Everything was delivered and is final, and both counts of the money agree."""
        return (
            self.requests > 0
            and self.delivered == self.verified == self.requests
            and self.spent_ledger == self.spent_chain
        )

    def as_json(self) -> dict[str, Any]:
        """The line that programs read; money in token units."""
        return {
            "requests": self.requests,
            "delivered": self.delivered,
            "verified": self.verified,
            "spent_ledger": _in_units(self.spent_ledger),
            "spent_chain": _in_units(self.spent_chain),
            "ok": self.ok,
        }


def _in_units(spent: dict[Currency, int]) -> dict[str, str]:
    return {currency.value: f"{to_units(amount):f}" for currency, amount in sorted(spent.items())}


async def _on_stack(stack: Any, unresolved: Settings, requests: int, *, keep: bool) -> Verdict:
    say("starting PostgreSQL, Temporal, a Solana chain, a facilitator, two paid APIs and a worker ...")
    async with stack as addresses:
        say(f"all of it answers; watch along in Temporal's web UI: {addresses.temporal_ui}", "bold")
        settings = unresolved.resolve()
        async with ledger_of(settings) as ledger:
            show_begin = await _Show.begin(settings, ledger, addresses)
            verdict = await show_begin.run(requests)
        _explain(addresses, settings, keep=keep)
        if keep:
            await _until_interrupted()
    return verdict


class _Show:
    """One run of the demo: an agent from its launch to its last settlement."""

    def __init__(self, settings: Settings, ledger: PostgresLedger, agent: AgentCalls) -> None:
        self._settings = settings
        self._ledger = ledger
        self._agent = agent
        self._board = Board(out() if out().is_terminal else remarks())

    @classmethod
    async def begin(cls, settings: Settings, ledger: PostgresLedger, addresses: StackFile) -> "_Show":
        """Launch an agent that watches both APIs, in both currencies and both versions of the protocol."""
        name = f"demo-{time.strftime('%m%d-%H%M%S')}"
        client = await connect(settings)
        order = LaunchOrder(
            name=name,
            phase=Phase.FULL,
            currencies=tuple(Currency),
            allowance_atomic=to_atomic("1"),
            tx_limit=100,
            duration_s=3600,
            watches=_watches(addresses),
        )
        granted = await launch_agent(settings, ledger, client, vault_of(settings), order)
        for session, currency in zip(granted, order.currencies, strict=True):
            key, signature = session.authority[:8], session.signature[:12]
            say(f"the owner lets session key {key}… spend at most 1 {currency} ({signature}…)")
        return cls(settings, ledger, AgentCalls(client, name, settings.task_queue))

    async def run(self, requests: int) -> Verdict:
        """Buy, pause, resume, stop, and count."""
        board = self._board
        half = max(1, requests // 2)
        with Live(console=board.console, auto_refresh=False) if board.console.is_terminal else _NoLive() as live:
            board.live = live
            board.say(f"agent {self._agent.name} keeps three watches fresh")
            await self._until(lambda status: status.delivered >= half, f"{half} deliveries")
            await self._agent.signal("pause", "the demo shows a pause")
            board.say("signal pause: what is in flight finishes, nothing new begins")
            await self._until(_is_seen_paused, "the pause")
            await self._agent.signal("resume")
            board.say("signal resume: on it goes")
            await self._until(lambda status: status.delivered >= requests, f"{requests} deliveries")
            await self._agent.signal("stop")
            board.say("signal stop: the last payments become final")
            await self._until(lambda status: status.state == AgentState.STOPPED, "the stop")
        return await self._count()

    async def _until(self, reached: Callable[[AgentStatus], bool], what: str) -> None:
        """Watch until the agent says so."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = await self._agent.status()
            self._board.update(await self._ledger.timeline(self._agent.name, limit=100), status)
            if reached(status):
                return
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the demo waited {PATIENCE_S} s for {what}; see the logs in {self._settings.home}/logs"
                )
            await asyncio.sleep(POLL_S)

    async def _count(self) -> Verdict:
        """The money twice: what the ledger booked, and what is missing from the sessions' accounts on chain."""
        rows = await self._ledger.timeline(self._agent.name, limit=1000)
        bought = [
            (row.request_id, show(row.amount_atomic, row.currency), row.status, (row.hash or "–")[:24])
            for row in reversed(rows)
        ]
        show_table(("request", "price", "status", "transaction"), bought, title="\nWhat was bought")
        verdict = Verdict(
            requests=len({row.request_key for row in rows}),
            delivered=len({row.request_key for row in rows if row.delivery == "DELIVERED"}),
            verified=sum(row.status == "VERIFIED" for row in rows),
            spent_ledger=await self._ledger.spent(self._agent.name),
            spent_chain=await self._missing_on_chain(),
        )
        counts = (verdict.spent_ledger, verdict.spent_chain)
        money = [(each.value, *(f"{to_units(count.get(each, 0)):f}" for count in counts)) for each in Currency]
        columns = ("currency", "spent, says the ledger", "spent, says the chain")
        show_table(columns, money, title="\nThe money, counted twice")
        say_result("The two counts agree." if verdict.ok else "THE COUNTS DIFFER.")
        return verdict

    async def _missing_on_chain(self) -> dict[Currency, int]:
        """What each session's account was funded with, less what it holds at finalized."""
        chain = SolanaChain(self._settings.solana_rpc_url, self._settings.network)
        spent: dict[Currency, int] = {}
        try:
            for session in await self._ledger.sessions(self._agent.name):
                account = await chain.token_account(session.source_account, final=True)
                held = account.amount_atomic if account else 0
                if missing := session.allowance_atomic - held:
                    spent[session.currency] = spent.get(session.currency, 0) + missing
        finally:
            await chain.close()
        return spent


def _is_seen_paused(status: AgentStatus) -> bool:
    """Paused, nothing in flight, and a watch has gone stale without anything being bought for it."""
    since = [each.stale_since for each in status.watches if each.stale_since is not None]
    stale = any(each < datetime.now(UTC) - SEEN_STALE for each in since)
    return status.state == AgentState.PAUSED and not status.in_flight and stale


class _NoLive:
    """Stands in for `Live` where there is no terminal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _watches(addresses: StackFile) -> tuple[Watch, ...]:
    cap = to_atomic("0.01")
    market, knowledge = addresses.market_api, addresses.knowledge_api
    return (
        Watch(name="market", url=f"{market}/api/market-feed", every_s=3, max_price_atomic=cap, currency=Currency.USDC),
        Watch(
            name="insights",
            url=f"{knowledge}/api/ai-insights?topic=fees",
            every_s=4,
            max_price_atomic=cap,
            currency=Currency.CASH,
        ),
        Watch(name="market-v1", url=f"{market}/v1/api/market-feed", every_s=5, max_price_atomic=cap),
    )


def _explain(addresses: StackFile, settings: Settings, *, keep: bool) -> None:
    home = f" --home {settings.home}" if settings.home != Path(".autopay") else ""
    if keep:
        say_result(f"\nThe stack keeps running; Temporal's web UI: {addresses.temporal_ui}")
        say_result(f"In another terminal: .venv/bin/python starter.py ledger show{home}")
        say_result(
            f"                     .venv/bin/python starter.py request {addresses.market_api}/api/market-feed{home}"
        )
        say_result("Stop with Ctrl-C.")
    else:
        say_result(f"\nTo keep looking at it: make demo ARGS=--keep, then open {addresses.temporal_ui}")


async def _until_interrupted() -> None:
    """Stay until Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
