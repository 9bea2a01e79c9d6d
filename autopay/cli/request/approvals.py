"""`approvals`, `approve` and `deny`: what agents want to pay, and a person's word on it."""

import asyncio
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help, exit_code_of, exit_codes_help
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import agent_name, duration_s
from autopay.cli.request.approval_steps import decide_approval, find_approval
from autopay.cli.request.request import result_line
from autopay.domain.money import show, to_units
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import CLOSED, RequestResult
from autopay.settings import Settings

POLL_S = 0.3

ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, or the beginning of it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("approvals", epilog=examples_help("approvals", "approvals trader --all --json"))(approvals)
    codes = exit_codes_help()
    app.command("approve", epilog=f"{examples_help('approve 0193fa2c', 'approve 0193fa2c --wait')}\n\n{codes}")(approve)
    app.command("deny", epilog=f"{examples_help('deny 0193fa2c')}\n\n{codes}")(deny)


def approvals(
    agent: Annotated[str | None, typer.Argument(help="Of this agent only.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was decided, or has expired.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the payments that wait for a person, with the exact terms, oldest first.

    An agent in phase interactive asks about everything that its policy does not let it pay by itself.
    """
    name = None if agent is None else agent_name(agent)
    rows = run_async(_approvals(Settings.load(home=home).resolve("database_url"), name, not everything))
    if as_json:
        print_json([_facts(row) for row in rows])
    elif not rows:
        note("Nobody was ever asked." if everything else "Nothing waits for a person.")
    else:
        for row in rows:
            _show_terms(row)
        if not everything:
            note("to decide: starter.py approve ID, or starter.py deny ID; the beginning of an id is enough")


def approve(
    which: ApprovalId,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the request has ended, and say how.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
    home: HomeOption = None,
) -> None:
    """Let a payment be made, on exactly the terms that are shown.

    If the seller asks anything else by then, that has to be approved anew. The limits of policy and session hold all
    the same.
    """
    timeout_s = duration_s(timeout)
    settings = Settings.load(home=home).resolve()
    row, is_news = run_async(_decide(settings, which, approve=True))
    _show_terms(row)
    note(f"approved{'' if is_news else ', as it was before'}", "green")
    if not wait:
        return
    result = run_async(_end_of(settings, row, time.monotonic() + timeout_s))
    print_line(result_line(result))
    if result.status not in CLOSED:
        url = shlex.quote(row.terms.url)
        note(f"it goes on; see: starter.py request {url} --agent {row.agent} --id {result.request_id}", "yellow")
    raise typer.Exit(exit_code_of(result.status))


def deny(which: ApprovalId, home: HomeOption = None) -> None:
    """Refuse a payment: its request ends as refused, and nothing is paid.

    A yes can be taken back like this for as long as nothing was signed by it.
    """
    settings = Settings.load(home=home).resolve()
    row, is_news = run_async(_decide(settings, which, approve=False))
    _show_terms(row)
    note(f"denied{'' if is_news else ', as it was before'}", "green")


async def _approvals(settings: Settings, agent: str | None, undecided: bool) -> Sequence[ApprovalRecord]:
    async with ledger_of(settings) as ledger:
        if agent is not None:
            await known_agent(ledger, agent)
        return await ledger.policies.approvals(agent, undecided=undecided)


async def _decide(settings: Settings, which: str, *, approve: bool) -> tuple[ApprovalRecord, bool]:
    """The approval as it was found, and whether the word is news."""
    async with ledger_of(settings) as ledger:
        row = await find_approval(ledger, which)
        return row, await decide_approval(settings, ledger, row, approve=approve)


async def _end_of(settings: Settings, row: ApprovalRecord, deadline: float) -> RequestResult:
    """What came of the request, or how it stands at the deadline."""
    async with ledger_of(settings) as ledger:
        while (result := await ledger.requests.result(row.request_key)).status not in CLOSED:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return result
            for other in await ledger.policies.approvals(row.agent):
                if other.request_key == row.request_key and other.approval_id != row.approval_id:
                    again = f"starter.py approve {other.approval_id}"
                    raise CommandError(f"it waits for another approval: {other.why}; {again}", ExitCode.UNFINISHED)
            await asyncio.sleep(min(POLL_S, left_s))
        return result


def _show_terms(row: ApprovalRecord) -> None:
    terms = row.terms
    lines = {
        "pay": f"{show(terms.amount_atomic, terms.currency)} to {terms.pay_to} ({terms.network.value})",
        "mint": terms.mint,
        "for": f"{terms.method} {terms.url}" + (f", body sha256 {terms.body_hash}" if terms.body_hash else ""),
        "because": row.why,
        "until": f"{row.expires_at:%F %T} UTC{_left(row)}",
    }
    if row.status != "PENDING":
        lines["answer"] = row.status + (f" at {row.decided_at:%F %T} UTC" if row.decided_at else "")
    print_line(f"{row.approval_id}  agent {row.agent}, request {terms.request_id}")
    for name, text in lines.items():
        print_line(f"  {name:<8} {text}")


def _left(row: ApprovalRecord) -> str:
    left = row.expires_at - datetime.now(UTC)
    if row.status != "PENDING" or left <= timedelta():
        return ""
    return f", {timedelta(seconds=int(left.total_seconds()))} left"


def _facts(row: ApprovalRecord) -> dict[str, Any]:
    """For programs; the amount in token units beside the terms' base units."""
    return row.model_dump(mode="json") | {"amount": f"{to_units(row.terms.amount_atomic):f}"}
