"""Grants and revokes as a caller of the API orders them: checked, recorded in the audit chain, done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar
from uuid import UUID

from solders.pubkey import Pubkey

from autopay.adapters.solana.owner.grant import GrantTerms, OwnerLacks
from autopay.adapters.solana.owner.owner_transaction import (
    OwnerRefused,
    OwnerSignatureWrong,
    OwnerTooLate,
    unsigned,
)
from autopay.api.access.orders import ordered
from autopay.api.delegation import models
from autopay.api.models.base import money
from autopay.client.agents.grant_hint import too_small_a_grant
from autopay.client.errors import InvalidCall, told_text
from autopay.delegation import drafts
from autopay.delegation.connections import OwnerConnections, mint_of, notify_agent, owner_node, vault_for
from autopay.delegation.drafts import Draft, known_session, needs_of
from autopay.delegation.errors import NotDelegated
from autopay.delegation.submission import Granted, Submission, submit
from autopay.domain.errors import SettingsError
from autopay.domain.money import Currency, to_atomic
from autopay.domain.network import wallet_name
from autopay.domain.phase import Phase
from autopay.domain.session import MAX_SESSION_S, session_scope
from autopay.domain.text.durations import parse_whole_seconds
from autopay.domain.text.hosts import parse_host_rule

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.api.access.actor import Actor
    from autopay.api.services import Services
    from autopay.domain.session import SessionRecord

T = TypeVar("T")

_REFUSALS = {
    OwnerLacks: "owner_lacks",
    OwnerSignatureWrong: "signature_wrong",
    OwnerRefused: "chain_refused",
    OwnerTooLate: "expired",
}


class DelegationOrders:
    """What callers may order; each method records who did."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._settings = services.settings
        self._ledger: PostgresLedger = services.owners_ledger
        self._actor = actor

    async def draft_grant(self, new: models.NewGrant) -> models.ToSign:
        """Open a session that waits for its owner, and say what the owner is to sign.

        Raises:
            InvalidCall: a value means nothing.
            NotDelegated: the agent belongs to another wallet, or the owner lacks tokens or SOL.
        """
        needs = await needs_of(self._ledger, new.agent, new.currency)
        terms, owner = _terms(new, self._mint(new.currency), needs.phase), _wallet(new.owner)
        agent, details = new.agent if needs.is_known else None, new.model_dump(mode="json")
        async with (
            ordered(self._ledger, self._actor, "grant", agent=agent, details=details),
            self._connected() as on,
            self._ledger.sessions.lock_agent(new.agent),
        ):
            vault = await vault_for(self._ledger, self._settings)
            record = await drafts.open_session(on, vault, agent=new.agent, owner=owner, terms=terms)
            draft = await drafts.grant_draft(on, record)
        small = too_small_a_grant(new.agent, needs.phase, new.currency, terms.allowance_atomic, needs.least_atomic)
        return self._to_sign(draft, notice=small)

    def _mint(self, currency: Currency) -> str:
        try:
            return mint_of(self._settings, currency)
        except SettingsError as error:
            raise InvalidCall(f"currency: {error}", "no_mint") from None

    async def draft_grant_again(self, session_id: UUID) -> models.ToSign:
        """A fresh transaction for a session that waits, as one can be sent for about a minute only."""
        record = await known_session(self._ledger, session_id)
        async with self._ordered("export_grant", record), self._connected() as on:
            return self._to_sign(await drafts.fresh_grant_draft(on, record))

    async def draft_revoke(self, session_id: UUID) -> models.ToSign | models.Revoked:
        """End the session now, and say what the owner is to sign to get its money back."""
        record = await known_session(self._ledger, session_id)
        try:
            async with self._ordered("revoke", record), self._connected() as on:
                found = await drafts.revoke_draft(on, session_id)
        finally:  # also of one that has ended and still has open payments
            notice = await self._notify(record)
        return self._to_sign(found) if isinstance(found, Draft) else self._revoked(found, notice)

    async def submit(
        self, session_id: UUID, does: Literal["grant", "revoke"], transaction: str | None
    ) -> models.Granted | models.Revoked:
        """Check what the wallet signed, send it, and record what the chain shows; the same again changes nothing."""
        record = await known_session(self._ledger, session_id)
        asked = record.owner_transaction
        if asked is not None and asked.does != does:
            raise NotDelegated("not_waiting", f"session {session_id} waits for its {asked.does}, not for its {does}")
        if asked is None and does == "revoke" and record.status == "ACTIVE":
            raise NotDelegated("not_waiting", f"session {session_id} was not revoked: draft its revoke first")
        async with self._ordered(f"submit_{does}", record), self._connected() as on:
            result = await submit(on, Submission(session_id, transaction, None))
        if not isinstance(result, Granted):
            return self._revoked(result, await self._notify(record))
        record = result.record
        return models.Granted(
            session_id=session_id,
            agent=record.agent,
            allowance=money(record.allowance_atomic, record.currency),
            source_account=record.source_account,
            tx_limit=record.tx_limit,
            hosts=record.hosts,
            expires_at=record.expires_at,
            transaction=result.signature,
            notice=await self._notify(record),
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[OwnerConnections]:
        async with owner_node(self._settings) as node, _refusals_told():
            yield OwnerConnections(self._ledger, node, self._settings.slot_ms)

    def _ordered(self, action: str, record: SessionRecord) -> AbstractAsyncContextManager[UUID]:
        return ordered(self._ledger, self._actor, action, agent=record.agent, target=str(record.session_id))

    async def _notify(self, record: SessionRecord) -> str | None:
        handle = self._services.sources.connections.agent(record.agent)
        return await notify_agent(record.agent, handle, told_text)

    def _revoked(self, found: drafts.Revoked, notice: str | None) -> models.Revoked:
        record, back = found.record, found.plan.brings_back_atomic if found.plan else 0
        late = "its grant can still be signed and land for a minute: revoke it again if that happens"
        return models.Revoked(
            session_id=record.session_id,
            agent=record.agent,
            brought_back=money(back, record.currency),
            transaction=found.signature,
            notice=late if found.may_still_be_granted else notice,
        )

    def _to_sign(self, draft: Draft, notice: str | None = None) -> models.ToSign:
        record = draft.record
        return models.ToSign(
            does=draft.asked.does,
            session_id=record.session_id,
            agent=record.agent,
            owner=record.owner,
            words=tuple(draft.words),
            transaction=unsigned(draft.asked),
            chain=wallet_name(self._settings.network),
            valid_until=draft.valid_until,
            notice=notice,
        )


@asynccontextmanager
async def _refusals_told() -> AsyncIterator[None]:
    """What an owner's transaction was refused for is an answer, and no fault of the server."""
    try:
        yield
    except tuple(_REFUSALS) as refusal:
        raise NotDelegated(_REFUSALS[type(refusal)], str(refusal)) from None


def _terms(new: models.NewGrant, mint: str, phase: Phase) -> GrantTerms:
    allowance = _read("allowance", to_atomic, new.allowance)
    if allowance == 0:
        raise InvalidCall("allowance: the amount must be above 0", "wrong_argument")
    duration_s = None if new.duration is None else _read("duration", parse_whole_seconds, new.duration)
    if duration_s is not None and duration_s > MAX_SESSION_S:
        most = f"at most {MAX_SESSION_S // 86_400}d"
        raise InvalidCall(f"duration: is longer than a session may last: {most}", "wrong_argument")
    hosts = tuple(dict.fromkeys(_read("hosts", parse_host_rule, each) for each in new.hosts))
    payments, lasts_s = session_scope(phase, new.tx_limit, duration_s)
    return GrantTerms(new.currency, mint, allowance, payments, lasts_s, hosts)


def _wallet(text: str) -> Pubkey:
    address = _read("owner", Pubkey.from_string, text)
    if not address.is_on_curve():
        raise InvalidCall(f"owner: {text} is not a wallet: nobody can sign for it", "wrong_argument")
    return address


def _read(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidCall(f"{name}: {error}", "wrong_argument") from None
