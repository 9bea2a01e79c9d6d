"""Submits what an owner signed with another wallet, and prints what became of it."""

from autopay.cli.connect.connections import ledger_of
from autopay.cli.session.output import print_granted, revoked_json, revoked_line
from autopay.cli.session.owner import notify_agent
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.delegation.connections import OwnerConnections, owner_node
from autopay.delegation.submission import Granted, Submission, submit
from autopay.settings import Settings


async def submit_signed(settings: Settings, given: Submission, as_json: bool) -> None:
    """Finish the grant or revoke that was signed, and print what became of it."""
    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        result = await submit(OwnerConnections(ledger, node, settings.slot_ms), given)
        if isinstance(result, Granted):
            await print_granted(settings, node, ledger, result, as_json)
            return
        problem = await notify_agent(settings, result.record.agent)
        if as_json:
            print_json(revoked_json(result))
        else:
            print_line(revoked_line(result))
        if problem:
            note(problem, "yellow")
