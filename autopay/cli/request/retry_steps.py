"""Asks a seller once more for what was paid, by the settings of a command."""

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.cli.terminal.options import DEFAULT_AGENT
from autopay.client.requests import asking_again
from autopay.client.requests.connections import Connections
from autopay.client.requests.order import RequestOutcome
from autopay.client.requests.text import retry_command
from autopay.settings import Settings


async def ask_again(settings: Settings, agent: str | None, request: str, timeout_s: float) -> RequestOutcome:
    """Send the recorded payment of that request again and wait for the content, at most `timeout_s`."""
    async with ledger_of(settings) as ledger:
        name = agent or await _whose(ledger, request)
        connections = Connections(settings, ledger)
        try:
            await known_agent(ledger, name)
            async with ordered_by_command(ledger, "retry", agent=name, target=request):
                outcome = await asking_again.ask_again(connections, name, request, timeout_s)
        finally:
            await connections.close()
    if outcome is None:
        again = retry_command(name, request)
        raise CommandError(f"the seller has not answered yet; to try again: {again}", ExitCode.UNFINISHED)
    return outcome


async def _whose(ledger: PostgresLedger, request: str) -> str:
    owners = await ledger.reports.dispute_owners(request)
    if len(owners) > 1:
        raise CommandError(f"several agents have an undelivered request {request!r}: say --agent {' or '.join(owners)}")
    return owners[0] if owners else DEFAULT_AGENT
