"""What a check of the ledger's proof tells: what was checked, what does not fit, and what cannot be excluded. Pure."""

from datetime import datetime
from uuid import UUID

from autopay.domain.audit.events import Event, Reason
from autopay.domain.network import Network
from autopay.domain.values import Value

MOST_FINDINGS = 1_000
"""Findings that are listed; all are counted."""


class Neighbour(Value):
    """An event beside the one that does not fit, or that one itself."""

    seq: int
    kind: str
    row_id: UUID
    at: datetime
    hash: str


class Finding(Value):
    """Something that does not fit. `around` are the event before, the event itself and the one after, if any."""

    reason: Reason
    detail: str
    agent_id: UUID | None = None
    agent: str | None = None
    seq: int | None = None
    table: str | None = None
    row_id: UUID | None = None
    around: tuple[Neighbour, ...] = ()


class Anchored(Value):
    """The newest anchor that is final: how far back nobody can have changed anything unseen."""

    created_at: datetime
    network: Network
    slot: int
    payer: str
    signature: str
    events_since: int


class AuditReport(Value):
    """A whole check. `on_chain` is None when the chain was not asked; `excludes_not` is what a clean check leaves."""

    ok: bool
    agent: str | None
    chains: int
    events: int
    rows: int
    anchors: int
    payments_on_chain: int | None
    anchors_on_chain: int | None
    anchored: Anchored | None
    findings: tuple[Finding, ...]
    found: int
    excludes_not: tuple[str, ...]


def neighbour(event: Event) -> Neighbour:
    """The event as a report shows it."""
    return Neighbour(seq=event.seq, kind=event.kind, row_id=event.row_id, at=event.at, hash=event.hash.hex())


def excludes_not(
    anchored: Anchored | None, *, asked_anchors: bool, asked_payments: bool, beyond: int, one_agent: bool
) -> tuple[str, ...]:
    """What this check would not have seen, in sentences; `beyond` payments are older than what the node holds."""
    found = []
    money = "may have been written anew, consistently; `ledger reconcile` would find what that changed of the money."
    if anchored is None:
        found.append(f"No anchor holds: all events {money}")
    else:
        if anchored.events_since:
            found.append(f"The {anchored.events_since} events since the last anchor {money}")
        found.append(f"The anchors prove something only if wallet {anchored.payer} is yours, and its key safe.")
    if not asked_anchors:
        found.append("The anchors were not looked up on chain, as no Solana node is set: AUTOPAY_SOLANA_RPC_URL.")
    if not asked_payments:
        found.append("A payment that is booked as VERIFIED and was never made is found with --on-chain only.")
    if beyond:
        found.append(f"{beyond} payments are older than what the Solana node holds: ask one that keeps its history.")
    if one_agent:
        found.append("What belongs to other agents, or to none, was not checked.")
    found.append("What the program itself was made to record wrongly is recorded faithfully.")
    return tuple(found)
