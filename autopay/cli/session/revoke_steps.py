"""Revokes sessions: destroys their keys, then gives what is left back to the owner on chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from autopay.adapters.ledger_changes import ledger_changes
from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.owner.owner_transaction import OwnerNode, signed_by
from autopay.adapters.solana.owner.revoke import plan_revoke
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.session.output import revoked_json, revoked_line, session_json
from autopay.cli.session.owner import key_of_owner, notify_agent
from autopay.cli.session.signing_file import export_for_signing
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.delegation.connections import OwnerConnections, owner_node
from autopay.delegation.drafts import Revoked, draft_of_plan, known_session, mark_revoked
from autopay.delegation.words import describe_revoke
from autopay.domain.session import SessionRecord
from autopay.settings import Settings

POLL_S = 0.5


@dataclass(frozen=True)
class RevokeOrder:
    """Which sessions, and who signs."""

    session_id: UUID | None
    agent: str | None
    owner_keypair: Path | None
    export: Path | None
    wait: bool


async def revoke_sessions(settings: Settings, order: RevokeOrder, as_json: bool) -> bool:
    """End the sessions, and take what is left of them back; whether all of it is done."""
    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        records = await _chosen(ledger, node, order)
        for record in records:
            async with ordered_by_command(ledger, "revoke", agent=record.agent, target=str(record.session_id)):
                await ledger.sessions.end(record.session_id)
        on = OwnerConnections(ledger, node, settings.slot_ms)
        outcomes = [await _Revocation(settings, on, order, as_json).run(record) for record in records]
        if as_json:
            print_json([line for _, line in outcomes])
        for name in {record.agent for record in records}:
            await notify_agent(settings, name)
        return all(finished for finished, _ in outcomes)


async def _chosen(ledger: PostgresLedger, node: OwnerNode, order: RevokeOrder) -> Sequence[SessionRecord]:
    if order.session_id is not None:
        return [await known_session(ledger, order.session_id)]
    assert order.agent is not None
    await known_agent(ledger, order.agent)
    found = [
        record
        for record in await ledger.sessions.list(order.agent)
        if record.status == "ACTIVE" or await node.chain.token_account(record.source_account) is not None
    ]
    if order.export is not None and len(found) > 1:
        listed = ", ".join(str(record.session_id) for record in found)
        raise CommandError(f"--export writes one transaction, and {order.agent} has {len(found)} sessions: {listed}")
    if not found:
        note(f"agent {order.agent} has no session left to revoke")
    return found


class _Revocation:
    """Revokes sessions one by one: waits for open payments, then sends or exports the owner's transaction."""

    def __init__(self, settings: Settings, on: OwnerConnections, order: RevokeOrder, as_json: bool) -> None:
        self._settings = settings
        self._on = on
        self._order = order
        self._as_json = as_json

    async def run(self, record: SessionRecord) -> tuple[bool, dict[str, Any]]:
        """Whether it is finished, and its line for `--json`."""
        if not await self._nothing_open(record):
            return False, session_json(record) | {"state": "open_payments"}
        plan = await plan_revoke(self._on.node, record)
        if plan is None or not plan.steps:
            return True, self._told(await mark_revoked(self._on, record, plan, None))
        note("\n".join(describe_revoke(record, plan)))
        if self._order.export is not None:
            draft = await draft_of_plan(self._on, record, plan)
            return True, export_for_signing(draft, self._order.export, self._settings.network, quiet=self._as_json)
        key = key_of_owner(self._settings, self._order.owner_keypair, record.owner)
        if key is None:
            raise CommandError(
                f"session {record.session_id} is ended and its key destroyed, but its money is still in "
                f"{record.source_account}: run it again with --owner-keypair FILE of {record.owner}, or --export FILE",
                ExitCode.UNFINISHED,
            )
        asked = await self._on.node.draft(key.pubkey(), plan.steps, "revoke")
        signature = await self._on.node.send(signed_by(asked, key), asked.last_valid_block_height)
        return True, self._told(await mark_revoked(self._on, record, plan, signature))

    async def _nothing_open(self, record: SessionRecord) -> bool:
        """Whether no payment is open: a revoke would take away what can prove that one never landed."""
        shown = -1
        async with ledger_changes(self._on.ledger.events.listening) as changes:
            while (count := (await known_session(self._on.ledger, record.session_id)).open_payments) > 0:
                what = f"{count} payment(s) of session {record.session_id} are open"
                if not self._order.wait:
                    note(f"{what}: its key is destroyed; run this again later to take the rest back", "yellow")
                    return False
                if count != shown:
                    note(f"{what}: waiting until they are final or failed, which needs a worker; Ctrl-C ends the wait")
                    shown = count
                await changes.wait(POLL_S)
        return True

    def _told(self, revoked: Revoked) -> dict[str, Any]:
        if revoked.may_still_be_granted:
            note("its grant can still be signed and land for a minute: run this again if that happens", "yellow")
        if not self._as_json:
            print_line(revoked_line(revoked))
        return revoked_json(revoked)
