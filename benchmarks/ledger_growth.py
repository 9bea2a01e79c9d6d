"""What a payment costs the ledger as it grows: `make bench-growth`.

The ledger's own methods, in the order in which a payment and its agent call them, on ledgers of several sizes in one
embedded PostgreSQL: a year of payments by twenty agents, and a day's payments of one agent in one session. The ledgers
take turns, so that what else the machine does is shared out fairly. Fails when a statement (those of triggers too)
reads a big table from end to end. Prints a line of JSON for each figure and writes `ledger_growth.md` beside this file.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import psycopg

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment
from autopay.domain.payment.exchange import Receipt, Reply
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Content, Settlement
from autopay.domain.policy.policy import Policy
from autopay.domain.request import RequestSpec, RequestStatus, x402_request_id
from benchmarks.ledger_database import database_server, filled
from benchmarks.ledger_rows import BUSY_AGENT, HOST, Shape
from benchmarks.machine import machine, tell
from localnet.postgres.server import EmbeddedPostgres

T = TypeVar("T")

REPORT = Path(__file__).with_suffix(".md")
BASE = 10_000
PAYMENTS_A_TURN = 10
FEW = 100_000
"""A table of fewer rows may be read from end to end."""

GROWING = ["transactions", "api_request_logs", "priority_queue"]
SCANS = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)"
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
PLENTY = 10**12
STEPS = ("accept", "begin", "permit", "reserve", "send", "answer", "settle", "close", "turn")
REPLY = Reply(http_status=200, content_type="application/json", body=b'{"price": 42}')


@dataclass
class Case:
    """A ledger of a size, and how long each step took in it, in seconds."""

    title: str
    rows: int
    shape: Shape
    url: str = ""
    took: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    scanned: dict[str, int] = field(default_factory=dict)

    def p50_ms(self, step: str) -> float:
        """The median of a step."""
        return statistics.median(self.took[step]) * 1000


class Payer:
    """Makes payments of the busiest agent on one ledger, and takes their times."""

    def __init__(self, case: Case, ledger: PostgresLedger, session_id: UUID) -> None:
        self._case = case
        self._ledger = ledger
        self._session_id = session_id
        self._numbers = count(1)

    async def pay(self) -> None:
        """One payment, from its request to its end, and what the agent reads between two."""
        ledger, request_id = self._ledger, f"{uuid4().hex}-{next(self._numbers)}"
        key = x402_request_id(BUSY_AGENT, request_id)
        spec = RequestSpec(request_id=request_id, url=f"https://{HOST}/api/feed-7")
        await self._timed("accept", ledger.requests.accept(BUSY_AGENT, spec, 1.0, 10_000))
        await self._timed("begin", ledger.requests.begin(key))
        signed = signed_payment()
        permitted = ledger.payments.permit(key, signed.offer, signed.program, [signed.memo], "destination")
        await self._timed("permit", permitted)
        attempt = await self._timed("reserve", ledger.payments.record_attempt(key, 1, self._session_id, signed))
        if not isinstance(attempt, RecordedAttempt):
            raise TypeError(f"it was not recorded: {attempt}")
        await self._timed("send", ledger.payments.record_sending(attempt.attempt_id))
        reply = REPLY.model_copy(update={"receipt": Receipt(success=True, transaction="claim")})
        answered = ledger.payments.record_answer(attempt.attempt_id, reply, Content(http_status=200))
        await self._timed("answer", answered)
        settled = ledger.payments.record_seen(attempt.attempt_id, settlement_of(attempt), final=True)
        await self._timed("settle", settled)
        ended = (await ledger.requests.result(key)).model_copy(update={"status": RequestStatus.DELIVERED})
        await self._timed("close", ledger.requests.close(key, ended))
        await self._timed("turn", self._turn())

    async def _turn(self) -> None:
        """What an agent reads before it decides what to buy next."""
        await self._ledger.requests.backlog(BUSY_AGENT)
        await self._ledger.sessions.current(BUSY_AGENT, Currency.USDC)
        await self._ledger.sessions.in_flight(self._session_id)
        await self._ledger.policies.in_force(BUSY_AGENT)

    async def _timed(self, step: str, call: Awaitable[T]) -> T:
        began = time.perf_counter()
        done = await call
        self._case.took[step].append(time.perf_counter() - began)
        return done


def signed_payment() -> SignedPayment:
    """A payment from the busiest agent's account whose bytes differ from every other."""
    offer = Offer(
        version=2,
        network=Network.DEVNET,
        currency=Currency.USDC,
        mint="mint",
        amount_atomic=1_000,
        pay_to="payee",
        fee_payer="facilitator",
        memo=None,
        accepted_raw="{}",
    )
    return SignedPayment(
        offer=offer,
        program="program",
        memo=uuid4().hex,
        message_hash=uuid4().hex * 2,
        buyer_signature=uuid4().hex * 2,
        blockhash=uuid4().hex,
        blockhash_slot=1,
        last_valid_block_height=150,
        source_account=f"source-{BUSY_AGENT}",
        destination_account="destination",
        newest_prior_signature=None,
        sealed=uuid4().hex * 30,
    )


def settlement_of(attempt: RecordedAttempt) -> Settlement:
    """What the chain shows of it."""
    return Settlement(
        signature=attempt.attempt_id.hex,
        slot=120,
        payer=attempt.authority,
        destination=attempt.destination_account,
        mint=attempt.mint,
        amount_atomic=attempt.amount_atomic,
    )


def cases(rows: Sequence[int], a_day: int) -> list[Case]:
    """The ledgers: the base first, then each size, then the day."""
    slim = Shape(sealed=200, words=1, events=False)
    found = [Case(f"{each:,} payments in a year", each, slim) for each in dict.fromkeys((BASE, *rows))]
    now = datetime.now(UTC)
    today_s = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    if a_day:
        day = Shape(agents=1, days=today_s * 0.9 / 86_400, sealed=200, words=1, events=False)
        found.append(Case(f"{a_day:,} payments in one session and day", a_day, day))
    return found


def prepare(server: EmbeddedPostgres, case: Case) -> None:
    """A database with the case's rows, its own when it is not there yet."""
    name = f"growth_{case.rows}" + (f"_{datetime.now(UTC):%Y%m%d}" if case.shape.agents == 1 else "")
    case.url = server.url(name)
    with psycopg.connect(server.url("postgres"), autocommit=True) as db:
        if db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            db.execute(f'CREATE DATABASE "{name}"')
    with filled(case.url, case.rows, case.shape):
        pass


async def measure(found: Sequence[Case], payments: int) -> None:
    """So many payments on each ledger, some at a time in turn."""
    ledgers = [open_ledger(case.url) for case in found]
    payers = []
    for case, ledger in zip(found, ledgers, strict=True):
        limits = Policy(price_factor=None, per_host_day_atomic=PLENTY, per_agent_day_atomic=PLENTY)
        await ledger.policies.set(limits, BUSY_AGENT)
        (session,) = await ledger.sessions.list(BUSY_AGENT)
        payers.append(Payer(case, ledger, session.session_id))
        for _ in range(3):  # caches and connections
            await payers[-1].pay()
        case.took.clear()
        case.scanned = scans(case.url)
    for turn in range(max(1, payments // PAYMENTS_A_TURN)):
        tell(f"turn {turn + 1}")
        for payer in payers:
            for _ in range(PAYMENTS_A_TURN):
                await payer.pay()
    for case, ledger in zip(found, ledgers, strict=True):
        await ledger.dispose()
        case.scanned = {table: now - case.scanned[table] for table, now in scans(case.url, alone=True).items()}


def scans(url: str, *, alone: bool = False) -> dict[str, int]:
    """How often each growing table was read from end to end; `alone`: once the others, who count it, have gone."""
    with psycopg.connect(url, autocommit=True) as db:
        while alone and db.execute(OTHERS).fetchone() != (0,):
            time.sleep(0.05)
        return {str(table): int(number) for table, number in db.execute(SCANS, [GROWING])}


def report(found: Sequence[Case]) -> list[str]:
    """Markdown: a row a ledger, medians in ms, and how many times the base's."""
    base = found[0]
    lines = [
        "# What a payment costs the ledger as it grows",
        "",
        f"Written by `make bench-growth` on {datetime.now(UTC):%F}: {machine()}, "
        f"PostgreSQL as it comes, schema at {migrations.head()}. Medians of {len(base.took['reserve'])} payments, in "
        "ms as the caller sees them, and in brackets how many times the first row's; each step waits for the disk. "
        "`turn` is what an agent reads between two payments.",
        "",
        f"| ledger | {' | '.join(STEPS)} |",
        "|---" + "|--:" * len(STEPS) + "|",
    ]
    for case in found:
        cells = [f"{case.p50_ms(step):.1f} ({case.p50_ms(step) / base.p50_ms(step):.2f})" for step in STEPS]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return lines


def json_lines(found: Sequence[Case]) -> Iterator[str]:
    """A line a figure, for programs."""
    for case in found:
        for step in STEPS:
            times = case.p50_ms(step) / found[0].p50_ms(step)
            figure = {"figure": "growth", "ledger": case.title, "step": step}
            yield json.dumps(figure | {"p50_ms": round(case.p50_ms(step), 2), "times": round(times, 3)})


def faults(found: Sequence[Case]) -> list[str]:
    """Big tables that a statement read from end to end."""
    return [
        f"{case.title}: {table} was read from end to end {number} times"
        for case in found
        for table, number in case.scanned.items()
        if number and case.rows >= FEW
    ]


def main() -> int:
    """Measure, write the report, and end with 1 when a big table was read from end to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000], help=f"payments, beside {BASE} (1000000)")
    parser.add_argument("--day", type=int, default=100_000, help="payments in one session and day (100000); 0: none")
    parser.add_argument("--payments", type=int, default=200, help="measured on each ledger (200)")
    parser.add_argument("--home", type=Path, help="keep the databases here, and use them again")
    parser.add_argument("--out", type=Path, default=REPORT, help="the report")
    options = parser.parse_args()
    found = cases(options.rows, options.day)
    with database_server(options.home) as server:
        for case in found:
            tell(case.title)
            prepare(server, case)
        asyncio.run(measure(found, options.payments))
    options.out.write_text("\n".join(report(found)) + "\n")
    sys.stdout.write("".join(f"{line}\n" for line in json_lines(found)))
    tell(f"written: {options.out}")
    wrong = faults(found)
    for fault in wrong:
        tell(f"FAILED: {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
