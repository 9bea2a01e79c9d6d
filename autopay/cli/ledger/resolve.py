"""`ledger resolve`: a payment whose fate the chain can no longer prove; a person looks, and decides."""

from typing import Annotated

import typer

from autopay.adapters.solana.chain import SolanaChain
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.connect.options import HomeOption, JsonOption, agent_name
from autopay.domain.money import show
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.payment import Unknown, Verdict
from autopay.domain.payment.settlement import NEEDS_A_PERSON, check_settlement
from autopay.domain.request import x402_request_id
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger resolve trader monday-1",
        'ledger resolve trader monday-1 --dead --reason "revoked in Phantom, not on chain"',
    )
    ledger.command("resolve", epilog=shown)(resolve)


def resolve(
    agent: Annotated[str, typer.Argument(help="Whose payment.")],
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="Of which request.")],
    dead: Annotated[bool, typer.Option("--dead", help="Book it as not settled; a new attempt may be signed.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why you are sure; it stays in the ledger.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a payment without an outcome, and say what is missing to prove one.

    A payment is proven dead by the allowance that the chain still gives its session. When the owner revoked the
    delegation elsewhere, closed the account, or no node holds that slot any more, nothing can prove it, and it stays
    open: look in a block explorer for the session's account, and for the memo that is shown here. If it never landed,
    say so with --dead: its blockhash has expired, so it never will.
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
        note("booked as not settled", "green")
    elif isinstance(verdict, Unknown) and verdict.reason in NEEDS_A_PERSON:
        print_line(f"unprovable ({verdict.reason}): a person decides")
    else:
        print_line(f"{verdict.kind}: its workflow goes on by itself")


async def _resolve(
    settings: Settings, agent: str, request_id: str, reason: str | None
) -> tuple[RecordedAttempt, Verdict]:
    chain = SolanaChain(settings.solana_rpc_url, settings.network)
    try:
        async with ledger_of(settings) as ledger:
            await known_agent(ledger, agent)
            key = x402_request_id(agent, request_id)
            payment = await ledger.payments.recall(key)
            number = len(payment.attempts)
            attempt = await ledger.payments.attempt(key, number) if number else None
            if attempt is None or attempt.status in ("VERIFIED", "FAILED"):
                raise CommandError(f"{request_id} has no payment without an outcome")
            verdict = await check_settlement(chain, ledger.sessions.booked_up_to, attempt, settings.slot_ms)
            if reason is not None:
                if not isinstance(verdict, Unknown) or verdict.reason not in NEEDS_A_PERSON:
                    why = verdict.reason if isinstance(verdict, Unknown) else verdict.kind
                    raise CommandError(f"the chain still decides this one ({why}): wait for it", ExitCode.REFUSED)
                await ledger.payments.record_dead(attempt.attempt_id, f"decided by a person: {reason}")
            return attempt, verdict
    finally:
        await chain.close()
