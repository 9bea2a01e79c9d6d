"""Looks at a run that is over from every side: the chain, the ledger, Temporal, and the product's own reconciliation.

What must not live here: judgement of chain and ledger (verdict.py).
"""

import asyncio
import json
import os
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import open_ledger
from autopay.adapters.solana.history import SolanaHistory
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.reconcile.checkpoint import Checkpoint
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.reconcile.run import ReconcileRun
from autopay.domain.request import WITHOUT_CONTENT
from autopay.settings import Settings
from tests.chaos.books import Books, Request, read_books
from tests.chaos.onchain import ChainReader, Debit, Holding
from tests.chaos.plan import Plan
from tests.chaos.verdict import unexplained

STARTER = Path(__file__).parents[2] / "starter.py"
CLI_TIMEOUT_S = 120
EXPIRY_S = 120
POLL_S = 0.1
_FAILED = WorkflowExecutionStatus.FAILED
_NONDETERMINISM = re.compile(r"TMPRL1100|[Nn]ondeterminism")


@dataclass
class Findings:
    """What was seen, and `wrong`: whatever of it should not be.

    `known` are undelivered requests whose seller still knew the payment, as it gave the content when it was asked.
    """

    books: Books
    debits: Mapping[str, list[Debit]]
    wrong: list[str]
    reconciled: Any = field(default_factory=dict)
    known: tuple[str, ...] = ()


async def audit(plan: Plan, refused: Mapping[str, str], settings: Settings, client: Client) -> Findings:
    """Read everything and compare it; the run is over, and the weather fair."""
    books = read_books(settings.database_url)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        chain = ChainReader(http, settings.solana_rpc_url)
        await _until_all_bytes_expired(chain, books)
        debits = {session.account: await chain.debits(session.account) for session in books.sessions}
        accounts = {*debits, *(attempt.destination for attempt in books.attempts)}
        holdings: dict[str, Holding] = {account: await chain.holding(account) for account in accounts}
    wrong = unexplained(plan.purchases, refused, books, debits, holdings)
    report = await _reconcile(settings)
    wrong += [f"reconcile, {'the code' if in_code else 'the command'}: {each}" for in_code, each in report.wrong]
    wrong += await _verified(settings, books)
    wrong += await _workflows(client, books)
    wrong += _worker_logs(settings.home / "logs")
    wrong += await asyncio.to_thread(_secrets, plan, settings.home)
    known = await _still_known(settings, books)
    return Findings(books, debits, wrong, report.printed, known)


async def _still_known(settings: Settings, books: Books) -> tuple[str, ...]:
    """Undelivered requests that a person gets delivered by asking once more, in fair weather."""
    known = []
    for request in books.requests:
        if request.outcome == "undelivered":
            agent, _, request_id = request.name.partition("/")
            code, _, _ = await _command(settings.home, "retry", request_id, "--agent", agent)
            known += [request.name] if code == 0 else []
    return tuple(known)


async def _until_all_bytes_expired(chain: ChainReader, books: Books) -> None:
    """Wait until nothing that was ever signed can land any more: what is read then is the end of it."""
    last = max((attempt.last_valid_height for attempt in books.attempts), default=0)
    deadline = time.monotonic() + EXPIRY_S
    while await chain.finalized_height() <= last:
        assert time.monotonic() < deadline, f"the chain does not reach block {last}"
        await asyncio.sleep(POLL_S)


@dataclass
class _Reconciled:
    printed: Any
    wrong: list[tuple[bool, str]]


async def _reconcile(settings: Settings) -> _Reconciled:
    """By the product's code, and by its command in a process of its own; both must say ok and agree."""
    ledger, marks = open_ledger(settings.database_url), Checkpoint(network=settings.network)
    try:
        async with NodeRpc(settings.solana_rpc_url, settings.network) as rpc:
            report = await ReconcileRun(ledger.reconciliation, SolanaHistory(rpc), settings.network, marks).run()
    finally:
        await ledger.dispose()
    wrong = [(True, each) for each in _not_ok(report)]
    code, printed, said = await _command(settings.home, "ledger", "reconcile")
    if code != 0:
        wrong.append((False, f"exit code {code}: {said}"))
    by_code = json.loads(report.model_dump_json())
    if {**by_code, "as_of_slot": 0} != {**printed, "as_of_slot": 0}:
        wrong.append((False, f"says {printed}, the code {by_code}"))
    return _Reconciled(printed, wrong)


def _not_ok(report: ReconcileReport) -> list[str]:
    entries = [*report.unmatched_chain, *report.unmatched_ledger, *report.unresolved]
    found = [entry.model_dump_json() for entry in entries]
    return found if report.ok else ["not ok", *found]


async def _verified(settings: Settings, books: Books) -> list[str]:
    """The ledger proves itself: its chains, its rows, an anchor of now, and every payment against the blocks."""
    wrong = []
    for arguments in (["anchor"], ["verify", "--on-chain"]):
        code, printed, said = await _command(settings.home, "ledger", *arguments)
        if code != 0:
            wrong.append(f"ledger {' '.join(arguments)}: exit code {code}: {printed.get('findings', said)}")
    settled = sum(attempt.status == "VERIFIED" for attempt in books.attempts)
    if not wrong and (printed["payments_on_chain"], printed["anchors_on_chain"]) != (settled, 1):
        wrong.append(f"ledger verify: of {settled} payments and an anchor it saw {printed}")
    return wrong


async def _command(home: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOPAY_", "TEMPORAL_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), *arguments, "--json", "--home", str(home),
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), CLI_TIMEOUT_S)
    assert process.returncode is not None
    return process.returncode, json.loads(out or b"{}"), err.decode()


async def _workflows(client: Client, books: Books) -> list[str]:
    """Agents run on, payments have ended as their requests have: none is left, none was ended by force."""
    expected = {f"agent/{session.agent}": WorkflowExecutionStatus.RUNNING for session in books.sessions}
    expected |= {f"pay/{request.name}": _end_of(request) for request in books.requests}
    wrong = []
    for name, wanted in expected.items():
        found = await _status(client, name, wanted)
        if found is wanted or (found is _FAILED and await _came_later(client, name)):
            continue
        wrong.append(f"workflow {name} is {found.name}, not {wanted.name}")
    return wrong


def _end_of(request: Request) -> WorkflowExecutionStatus:
    """How the workflow of such a request ends."""
    return _FAILED if request.outcome in {*WITHOUT_CONTENT} else WorkflowExecutionStatus.COMPLETED


async def _came_later(client: Client, name: str) -> bool:
    """Whether the content came when the seller was asked again, after the payment's own workflow had ended."""
    asked = client.get_workflow_handle(f"retry/{name.removeprefix('pay/')}")
    try:
        return (await asked.describe()).status is WorkflowExecutionStatus.COMPLETED
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise


async def _status(client: Client, name: str, wanted: WorkflowExecutionStatus) -> WorkflowExecutionStatus:
    """A payment ends a moment after its ledger row: it gets that moment."""
    deadline = time.monotonic() + 20
    while True:
        found = (await client.get_workflow_handle(name).describe()).status
        assert found is not None
        if found is wanted or found is not WorkflowExecutionStatus.RUNNING or time.monotonic() > deadline:
            return found
        await asyncio.sleep(POLL_S)


def _worker_logs(logs: Path) -> list[str]:
    lines = [line for log in logs.glob("worker-*.log*") for line in log.read_text(errors="replace").splitlines()]
    found = Counter(line[:200] for line in lines if _NONDETERMINISM.search(line))
    return [f"worker log, {times} times: {line}" for line, times in found.items()]


def _secrets(plan: Plan, home: Path) -> list[str]:
    """No question that was asked by POST is in Temporal's database or in the log of a worker: bodies may be secret."""
    asked = [purchase.question.encode() for purchase in plan.purchases if purchase.question]
    files = [*home.glob("temporal.db*"), *(home / "logs").glob("worker-*.log*")]
    return [
        f"{file.name} holds {sum(question in data for question in asked)} questions in clear"
        for file in files
        for data in [file.read_bytes()]
        if any(question in data for question in asked)
    ]
