"""`approvals`, `approve` and `deny`: payments that wait for a person, and the person's decision."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from autopay.adapters.ledger_changes import ledger_changes
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.request.output import exit_code_of
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help, exit_codes_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name, duration_s
from autopay.client.requests.text import result_line, wait_command
from autopay.domain.money import show, units_text
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import CLOSED, RequestResult
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import span, utc
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
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="Only this agent's.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also approvals that are decided or have expired.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List payments that wait for a person, oldest first.

    Each is shown with its exact terms. An agent in phase interactive asks about everything that its policy does not
    let it pay by itself.
    """
    name = None if agent is None else agent_name(agent)
    rows = run_async(_approvals(Settings.load(home=home).resolve("database_url"), name, not everything))
    if as_json:
        print_json([_json(row) for row in rows])
    elif not rows:
        note("there are no approvals yet" if everything else "no payment waits for a person")
    else:
        for row in rows:
            _print_terms(row)
        if not everything:
            first = rows[0].approval_id
            note(f"to decide the first: {command_line('approve', first)}, or {command_line('deny', first)}")


def approve(
    which: ApprovalId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the request's result and print it.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
    home: HomeOption = None,
) -> None:
    """Approve a payment, on exactly the terms that are shown.

    If the seller changes its terms, the new ones need another approval. The limits of policy and session still hold.
    """
    timeout_s = duration_s(timeout)
    settings = Settings.load(home=home).resolve()
    row, is_new = run_async(_decide(settings, which, approve=True))
    _print_terms(row)
    note("approved" if is_new else "it is approved already", "green")
    if not wait:
        return
    result = run_async(_wait_for_result(settings, row, time.monotonic() + timeout_s))
    print_line(result_line(result))
    if result.status not in CLOSED:
        note(f"not finished yet; to wait for its end: {wait_command(row.agent, result.request_id)}", "yellow")
    raise typer.Exit(exit_code_of(result.status))


def deny(which: ApprovalId, home: HomeOption = None) -> None:
    """Deny a payment: its request is refused, and nothing is paid.

    An approval can be taken back like this until its payment is signed.
    """
    settings = Settings.load(home=home).resolve()
    row, is_new = run_async(_decide(settings, which, approve=False))
    _print_terms(row)
    note("denied" if is_new else "it is denied already", "green")


async def _approvals(settings: Settings, agent: str | None, undecided: bool) -> Sequence[ApprovalRecord]:
    async with ledger_of(settings, agent) as ledger:
        return await ledger.policies.approvals(agent, undecided=undecided)


async def _decide(settings: Settings, which: str, *, approve: bool) -> tuple[ApprovalRecord, bool]:
    """The approval as it was found, and whether the decision is new."""
    from autopay.client.requests.decisions import decide_approval, find_approval

    async with ledger_of(settings) as ledger:
        row = await find_approval(ledger, which)
        action, terms = "approve" if approve else "deny", row.terms
        details = {"terms_hash": row.terms_hash, "price": show(terms.amount_atomic, "").strip()}
        details |= {"currency": terms.currency.value, "pay_to": terms.pay_to, "request": terms.request_id}
        target = str(row.approval_id)
        async with ordered_by_command(ledger, action, agent=row.agent, target=target, details=details):
            return row, await decide_approval(settings, ledger, row, approve=approve)


async def _wait_for_result(settings: Settings, row: ApprovalRecord, deadline: float) -> RequestResult:
    """The request's result, or its status at the deadline."""
    async with ledger_of(settings) as ledger, ledger_changes(ledger.events.listening) as changes:
        while (result := await ledger.requests.result(row.request_key)).status not in CLOSED:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return result
            for other in await ledger.policies.approvals(row.agent):
                if other.request_key == row.request_key and other.approval_id != row.approval_id:
                    again = f"to approve: {command_line('approve', other.approval_id)}"
                    raise CommandError(f"it waits for another approval: {other.why}; {again}", ExitCode.UNFINISHED)
            await changes.wait(min(POLL_S, left_s))
        return result


def _print_terms(row: ApprovalRecord) -> None:
    terms = row.terms
    lines = {
        "pay": f"{show(terms.amount_atomic, terms.currency)} to {terms.pay_to} ({terms.network.value})",
        "mint": terms.mint,
        "for": f"{terms.method} {terms.url}" + (f", body sha256 {terms.body_hash}" if terms.body_hash else ""),
        "because": row.why,
        "until": f"{utc(row.expires_at)}{_left(row)}",
    }
    if row.status != "PENDING":
        answer = "WITHDRAWN" if row.is_withdrawn else row.status
        lines["answer"] = answer + (f" at {utc(row.decided_at)}" if row.decided_at else "")
    print_line(f"{row.approval_id}  agent {row.agent}, request {terms.request_id}")
    for name, text in lines.items():
        print_line(f"  {name:<8} {text}")


def _left(row: ApprovalRecord) -> str:
    left_s = (row.expires_at - datetime.now(UTC)).total_seconds()
    return f", {span(left_s)} left" if row.status == "PENDING" and left_s > 0 else ""


def _json(row: ApprovalRecord) -> dict[str, Any]:
    """An approval for programs; the amount in token units beside the terms' base units."""
    return row.model_dump(mode="json") | {"amount": units_text(row.terms.amount_atomic)}
