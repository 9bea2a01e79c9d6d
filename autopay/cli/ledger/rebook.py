"""`ledger reconcile --book`: after a restore, books what the backup had not and lifts the fence."""

import asyncio

from autopay.cli.connect.connections import ledger_of, node_rpc
from autopay.cli.terminal.console import note, print_line, stderr_console
from autopay.domain.money import show
from autopay.domain.progress import Progress
from autopay.domain.reconcile.rebook import Rebooked, Rebooking
from autopay.settings import Settings


async def rebook(settings: Settings, despite: str | None) -> Rebooked | None:
    """Run it; None when no fence is up, so that there is nothing to book."""
    from autopay.adapters.solana.history import SolanaHistory

    async with ledger_of(settings) as ledger, node_rpc(settings) as rpc:
        fence = await ledger.fence.current()
        if fence is None:
            return None
        note(f"fence since {fence.raised_at:%F %T} UTC: {fence.reason}")
        with stderr_console().status("reading the chain") as status:

            def on_progress(message: Progress) -> None:
                status.update(message.text)

            chain = SolanaHistory(rpc)
            run = Rebooking(ledger, chain, settings.network, settings.mints(), asyncio.sleep, on_progress, despite)
            return await run.run()


def show_rebooked(found: Rebooked) -> None:
    """What was booked, and whether payments may be signed again."""
    amounts = ", ".join(show(amount, currency) for currency, amount in found.amount_atomic.items()) or "nothing"
    print_line(f"booked {found.payments} forgotten payments ({amounts}) and {found.sessions} forgotten sessions")
    if found.sessions:
        note("their keys were lost with the old ledger; `session list` shows what their accounts hold", "yellow")
    for problem in found.problems:
        note(f"  {problem}", "red")
    if found.lifted and found.problems:
        note("the fence is lifted all the same, as you said; your reason is in the ledger", "yellow")
    elif found.lifted:
        note("ledger and chain agree: the fence is lifted, payments go on", "green")
    else:
        note("the fence stays up; try another RPC node, or look at what differs with `ledger reconcile`", "red")
        note("when you know why it differs: ledger reconcile --book --despite REASON")
