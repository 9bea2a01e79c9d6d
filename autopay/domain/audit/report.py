"""The result of an audit: what was checked, what is wrong, and what the check could not have seen."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from autopay.domain.audit.anchor import Anchor, parse_heads
from autopay.domain.audit.events import Event, Head, MismatchReason
from autopay.domain.network import Network
from autopay.domain.values import Value

MAX_LISTED_FINDINGS = 1_000
"""So many findings are listed; all are counted."""


class EventSummary(Value):
    """An event as a finding shows it."""

    seq: int
    kind: str
    row_id: UUID
    at: datetime
    hash: str


class AuditFinding(Value):
    """Something that is wrong. `around` has the event before, the event itself and the one after, if any."""

    reason: MismatchReason
    detail: str
    agent_id: UUID | None = None
    agent: str | None = None
    seq: int | None = None
    table: str | None = None
    row_id: UUID | None = None
    around: tuple[EventSummary, ...] = ()


class LastAnchor(Value):
    """The newest final anchor: what is older than it cannot have been changed unseen."""

    created_at: datetime
    network: Network
    slot: int
    payer: str
    signature: str
    events_since: int


class AuditReport(Value):
    """One audit. `..._on_chain` is None when the chain was not asked; `excludes_not` is `limits_of_check`."""

    ok: bool
    agent: str | None
    chains: int
    events: int
    rows: int
    anchors: int
    payments_on_chain: int | None
    anchors_on_chain: int | None
    anchored: LastAnchor | None
    findings: tuple[AuditFinding, ...]
    found: int
    excludes_not: tuple[str, ...]


def summarize_event(event: Event) -> EventSummary:
    """The event as a finding shows it."""
    return EventSummary(seq=event.seq, kind=event.kind, row_id=event.row_id, at=event.at, hash=event.hash.hex())


def last_anchor(anchor: Anchor, heads: Sequence[Head]) -> LastAnchor:
    """The newest final anchor, and how many events the chains with these heads have had since."""
    then = {head.agent_id: head.seq for head in parse_heads(anchor.heads)}
    assert anchor.slot is not None, "only an anchor that is final is the newest one"
    return LastAnchor(
        created_at=anchor.created_at,
        network=anchor.network,
        slot=anchor.slot,
        payer=anchor.payer,
        signature=anchor.signature,
        events_since=sum(max(head.seq - then.get(head.agent_id, 0), 0) for head in heads),
    )


def limits_of_check(
    anchored: LastAnchor | None, *, asked_anchors: bool, asked_payments: bool, beyond: int, one_agent: bool
) -> tuple[str, ...]:
    """What this check could not have seen, in sentences; `beyond` payments are older than what the node holds."""
    limits = []
    money = "may have been written anew, consistently; `ledger reconcile` would find what that changed of the money."
    if anchored is None:
        limits.append(f"No anchor holds: all events {money}")
    else:
        if anchored.events_since:
            limits.append(f"The {anchored.events_since} events since the last anchor {money}")
        limits.append(f"The anchors prove something only if wallet {anchored.payer} is yours, and its key safe.")
    if not asked_anchors:
        limits.append("The anchors were not looked up on chain, as no Solana node is set: AUTOPAY_SOLANA_RPC_URL.")
    if not asked_payments:
        limits.append("A payment that is booked as VERIFIED and was never made is found with --on-chain only.")
    if beyond:
        limits.append(f"{beyond} payments are older than what the Solana node holds: ask one that keeps its history.")
    if one_agent:
        limits.append("What belongs to other agents, or to none, was not checked.")
    limits.append("What the program itself was made to record wrongly is recorded faithfully.")
    return tuple(limits)
