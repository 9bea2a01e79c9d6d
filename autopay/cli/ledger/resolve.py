"""`ledger resolve`: an open payment whose outcome the chain can no longer prove; a person decides."""

from typing import Annotated

import typer

from autopay.cli.connect.connections import known_agent, ledger_of, node_rpc
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, JsonOption, RequestIdArgument, agent_name
from autopay.domain.money import show
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.payment import Unknown, Verdict
from autopay.domain.payment.settlement import NEEDS_A_PERSON, check_settlement
from autopay.domain.payment.status import OPEN
from autopay.domain.request import x402_request_id
from autopay.settings import Settings

STATUS_OF = {"settled": "final", "dead": "failed", "seen": "confirmed", "unknown": "pending"}
"""What the chain shows, in the words of every message."""


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger resolve trader monday-1",
        'ledger resolve trader monday-1 --dead --reason "revoked in Phantom, not on chain"',
    )
    ledger.command("resolve", epilog=shown)(resolve)


def resolve(
    agent: AgentArgument,
    request_id: RequestIdArgument,
    dead: Annotated[bool, typer.Option("--dead", help="Book it as failed; a new payment may be signed.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why you are sure; kept in the ledger.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why a payment is still open, or book it as failed.

    A payment is proven not paid by the allowance that the chain still gives its session. When the owner revoked the
    delegation elsewhere, closed the account, or no node has that slot any more, nothing can prove it, and it stays
    open: look in a block explorer for the session's account, and for the memo that is shown here. If it never landed,
    use --dead: its blockhash has expired, so it never will.
    """
    if dead and not reason:
        raise CommandError("--dead needs --reason: it stays in the ledger as the only proof there is")
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    attempt, verdict = run_async(_resolve(settings, agent_name(agent), request_id, reason if dead else None))
    if as_json:
        print_json({"attempt": attempt.model_dump(mode="json", exclude={"sealed"}), "verdict": verdict.model_dump()})
        return
    print_line(f"{show(attempt.amount_atomic, attempt.currency)} to {attempt.pay_to}, attempt {attempt.number}")
    print_line(f"from {attempt.source_account}, memo {attempt.memo!r}, after slot {attempt.blockhash_slot}")
    if dead:
        note("booked as failed", "green")
    elif isinstance(verdict, Unknown) and verdict.reason in NEEDS_A_PERSON:
        print_line(f"the chain cannot prove it ({verdict.reason}): a person must decide, see --help")
    else:
        print_line(f"{STATUS_OF[verdict.kind]}: its workflow goes on by itself")


async def _resolve(
    settings: Settings, agent: str, request_id: str, reason: str | None
) -> tuple[RecordedAttempt, Verdict]:
    from autopay.adapters.solana.chain import SolanaChain

    async with ledger_of(settings) as ledger, node_rpc(settings) as rpc:
        await known_agent(ledger, agent)
        key = x402_request_id(agent, request_id)
        payment = await ledger.payments.recall(key)
        number = len(payment.attempts)
        attempt = await ledger.payments.attempt(key, number) if number else None
        if attempt is None or attempt.status not in OPEN:
            raise CommandError(f"request {request_id!r} of agent {agent!r} has no open payment")
        verdict = await check_settlement(SolanaChain(rpc), ledger.sessions.booked_up_to, attempt, settings.slot_ms)
        if reason is not None:
            if not isinstance(verdict, Unknown) or verdict.reason not in NEEDS_A_PERSON:
                why = verdict.reason if isinstance(verdict, Unknown) else verdict.kind
                raise CommandError(f"the chain can still prove it ({why}): wait for that", ExitCode.REFUSED)
            await ledger.payments.record_dead(attempt.attempt_id, f"decided by a person: {reason}")
        return attempt, verdict
