"""When an event fits its chain, what a row's events say of it, and what an anchor commits to."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from autopay.domain.audit.anchor import format_heads, memo_text, parse_heads, root_hash
from autopay.domain.audit.event_chain import AuditFindings, EventChainCheck
from autopay.domain.audit.events import (
    Event,
    Head,
    Mismatch,
    MismatchReason,
    ReplayedRow,
    event_mismatch,
    genesis,
    replay,
    row_mismatch,
)
from autopay.domain.audit.report import LastAnchor, limits_of_check
from autopay.domain.network import Network

AGENT, OTHER, ROW = UUID(int=1), UUID(int=2), UUID(int=9)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def event(last: Head, kind: str = "agents.created", values: Any = None) -> Event:
    """The event after that one, as the ledger's trigger writes it."""
    told = {"id": str(ROW), "agent_id": str(last.agent_id)} if values is None else values
    body = {"agent": str(last.agent_id), "seq": last.seq + 1, "kind": kind, "row": str(ROW), "at": NOON.isoformat()}
    payload = json.dumps(body | {"values": told}).encode()
    return Event(
        agent_id=last.agent_id,
        seq=last.seq + 1,
        kind=kind,
        row_id=ROW,
        at=NOON,
        previous=last.hash,
        payload=payload,
        hash=hashlib.sha256(last.hash + payload).digest(),
    )


def head_of(last: Event) -> Head:
    """Where a chain stands after that event."""
    return Head(agent_id=last.agent_id, seq=last.seq, hash=last.hash)


def chain(agent: UUID, length: int) -> list[Event]:
    """A chain that fits."""
    events: list[Event] = []
    for _ in range(length):
        events.append(event(head_of(events[-1]) if events else genesis(agent)))
    return events


def walked(events: list[Event], heads: list[Head]) -> list[tuple[MismatchReason, UUID | None, int | None]]:
    """What a walk finds."""
    findings = AuditFindings()
    walk = EventChainCheck(heads, findings)
    for each in events:
        walk.take(each)
    walk.end()
    return [(each.reason, each.agent_id, each.seq) for each in findings.kept]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"seq": 2}, MismatchReason.EVENTS_MISSING),
        ({"previous": b"x"}, MismatchReason.EVENT_NOT_LINKED),
        ({"hash": b"x"}, MismatchReason.HASH_DIFFERS),
        ({"payload": b"x"}, MismatchReason.HASH_DIFFERS),
        ({"payload": b"x", "hash": hashlib.sha256(bytes(32) + b"x").digest()}, MismatchReason.PAYLOAD_DIFFERS),
        ({"payload": b"[]", "hash": hashlib.sha256(bytes(32) + b"[]").digest()}, MismatchReason.PAYLOAD_DIFFERS),
        ({"kind": "agents.changed"}, MismatchReason.PAYLOAD_DIFFERS),
        ({"row_id": AGENT}, MismatchReason.PAYLOAD_DIFFERS),
        ({"agent_id": OTHER}, MismatchReason.PAYLOAD_DIFFERS),
        ({"at": datetime(2030, 1, 2, tzinfo=UTC)}, MismatchReason.PAYLOAD_DIFFERS),
    ],
)
def test_an_event_fits_exactly_where_it_was_written(changes: dict[str, Any], reason: MismatchReason | None) -> None:
    found = event_mismatch(event(genesis(AGENT)).model_copy(update=changes), genesis(AGENT))
    assert (found.reason if found else None) is reason


def test_chains_that_fit_and_their_heads_are_silent() -> None:
    first, second = chain(AGENT, 3), chain(OTHER, 1)
    assert walked([*first, *second], [head_of(first[-1]), head_of(second[-1])]) == []


def test_a_broken_chain_is_told_once_and_the_next_one_is_walked() -> None:
    first, second = chain(AGENT, 4), chain(OTHER, 2)
    heads = [head_of(first[-1]), head_of(second[-1])]
    found = walked([first[0], *first[2:], second[1]], heads)
    assert found == [(MismatchReason.EVENTS_MISSING, AGENT, 3), (MismatchReason.EVENTS_MISSING, OTHER, 2)]


def test_heads_and_ends_of_chains_must_be_the_same() -> None:
    events = chain(AGENT, 2)
    assert walked(events[:1], [head_of(events[-1])]) == [(MismatchReason.HEAD_DIFFERS, AGENT, 2)]
    assert walked(events, []) == [(MismatchReason.HEAD_MISSING, AGENT, None)]
    assert walked([], [head_of(events[-1])]) == [(MismatchReason.HEAD_DIFFERS, AGENT, 2)]
    assert walked([], []) == []


def test_a_rows_events_add_up_to_the_row() -> None:
    born = event(genesis(AGENT), "transactions.created", {"agent_id": str(AGENT), "amount": 1.10, "status": "PENDING"})
    moved = event(head_of(born), "transactions.changed", {"status": "FAILED"})
    told = replay([born, moved])
    row = {"agent_id": str(AGENT), "amount": replay([born]).values["amount"], "status": "FAILED"}  # type: ignore[union-attr, index]
    assert row_mismatch("transactions", row, told) is None
    assert row_mismatch("transactions", row | {"status": "PENDING"}, told) == Mismatch(
        MismatchReason.ROW_DIFFERS, "status is PENDING, its events say FAILED"
    )


def test_a_row_needs_events_of_its_own_chain() -> None:
    row = {"id": str(ROW), "agent_id": str(AGENT)}
    told = ReplayedRow(row, frozenset({OTHER}), unreadable=False)
    assert row_mismatch("transactions", row, None) is not None
    assert row_mismatch("transactions", row, told) == Mismatch(
        MismatchReason.ROW_DIFFERS, "its events are in another agent's chain"
    )
    assert row_mismatch("counterparties", row, told) is None
    gone = replay([event(genesis(AGENT)), event(genesis(AGENT), "sessions.deleted")])
    found = row_mismatch("sessions", row, gone)
    assert found is not None
    assert found.reason is MismatchReason.ROW_WITHOUT_EVENTS


def test_an_anchor_commits_to_every_head_in_one_order() -> None:
    heads = [Head(agent_id=agent, seq=12, hash=bytes([7] * 32)) for agent in (OTHER, AGENT)]
    lines = format_heads(heads)
    assert lines == format_heads(reversed(heads))
    assert lines.splitlines()[0] == b"00000000-0000-0000-0000-000000000001 12 " + b"07" * 32
    assert list(parse_heads(lines)) == heads[::-1]
    assert memo_text(root_hash(lines)) == "autopay-ledger-anchor:1:" + hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize("lines", [b"x\n", b"a b c\n", b"\xff\n", b"00000000-0000-0000-0000-000000000001 1 zz\n"])
def test_heads_that_are_none_are_an_error(lines: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (of several kinds)
        list(parse_heads(lines))


def test_a_clean_check_says_what_it_has_not_seen() -> None:
    anchored = LastAnchor(
        created_at=NOON, network=Network.DEVNET, slot=1, payer="wallet", signature="s", events_since=3
    )
    words = {"asked_anchors": True, "asked_payments": True, "beyond": 0, "one_agent": False}
    text = " ".join(limits_of_check(anchored, **words))  # type: ignore[arg-type]
    assert "3 events since the last anchor" in text
    assert "wallet is yours" in text
    less = {"asked_anchors": False, "asked_payments": False, "beyond": 2, "one_agent": True}
    text = " ".join(limits_of_check(None, **less))  # type: ignore[arg-type]
    for part in ("No anchor holds", "AUTOPAY_SOLANA_RPC_URL", "--on-chain", "2 payments are older", "other agents"):
        assert part in text
