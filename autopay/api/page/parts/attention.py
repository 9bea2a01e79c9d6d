"""What needs a person, the most urgent first: each in a sentence, with what to do about it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from autopay.api.page.frame.words import amount, count
from autopay.api.page.parts.endings import ends_soon
from autopay.client.agents.agent_list import ASKED_AT_MOST
from autopay.domain.report.flow import flow_text, flow_tone
from autopay.domain.text.command_line import command_line, worker_command_line
from autopay.domain.text.times import until

if TYPE_CHECKING:
    from autopay.api.models.agents import AgentItem
    from autopay.domain.policy.records import ApprovalRecord
    from autopay.domain.reconcile.restored import FenceRecord
    from autopay.domain.report.flow import FlowRow
    from autopay.domain.report.rows import DisputeRow
    from autopay.domain.session import SessionRecord

ALIVE = {"starting", "running", "paused", "stopping"}
"""States of an agent that a worker goes on with, and that answers when it is asked."""

IN_TROUBLE = {"terminated", "failed", "timed_out", "canceled"}
"""States of an agent whose workflow did not end by itself."""


IN_A_ROW = 3
"""So many requests in vain are told of."""


@dataclass(frozen=True)
class Action:
    """A button: a form that is sent to `href`, or a link where `fields` is None."""

    text: str
    href: str
    kind: str = ""
    fields: dict[str, str] | None = None


@dataclass(frozen=True)
class Todo:
    """One thing: `bad` costs data or money by now, `warn` waits. `command` is what to paste into a terminal."""

    tone: str
    what: str
    why: str
    command: str | None = None
    actions: Sequence[Action] = field(default_factory=tuple)


@dataclass(frozen=True)
class Found:
    """All that is looked at: of questions the first, of ended disputes the last, and how many there are."""

    agents: Sequence[AgentItem]
    approvals: Sequence[ApprovalRecord]
    more_approvals: int
    disputes: Sequence[DisputeRow]
    disputes_ended: int
    sessions: Sequence[SessionRecord]
    fence: FenceRecord | None
    problem: str | None
    recent: Sequence[FlowRow] = ()


def things_to_do(found: Found, now: datetime) -> list[Todo]:
    """What needs a person, the most urgent first; empty when nothing does."""
    return [
        *_fence(found),
        *_unreachable(found),
        *_silent(found.agents),
        *(_approval(each, now) for each in found.approvals),
        *_more_approvals(found),
        *(todo for each in found.agents for todo in _agent(each)),
        *_failing(found.recent),
        *_disputes(found),
        *(_session(each, now) for each in found.sessions if ends_soon(each, now)),
    ]


def _fence(found: Found) -> Iterator[Todo]:
    if found.fence is not None:
        yield Todo(
            "bad",
            "Nothing is signed: the ledger was restored",
            f"{found.fence.reason}. It goes on once the chain shows what the ledger may have forgotten.",
            command_line("ledger", "reconcile"),
        )


def _unreachable(found: Found) -> Iterator[Todo]:
    if found.problem is not None:
        yield Todo("bad", "What the agents do is not known", found.problem)


def _silent(agents: Sequence[AgentItem]) -> Iterator[Todo]:
    """Agents that should be at work and did not answer; where more are alive than are asked, nobody knows."""
    alive = [each for each in agents if each.state in ALIVE]
    names = [each.name for each in alive if not each.live]
    if names and len(alive) <= ASKED_AT_MOST:
        yield Todo(
            "warn",
            f"{count(len(names), 'agent does', 'agents do')} not answer",
            f"{', '.join(names)}: no worker runs, or it is busy. What is shown of them is what the ledger knows.",
            worker_command_line(),
        )


def _approval(approval: ApprovalRecord, now: datetime) -> Todo:
    terms = approval.terms
    href = f"/approvals/{approval.approval_id}"
    fields = {"terms": approval.terms_hash, "back": "/"}
    return Todo(
        "warn",
        f"Pay {amount(terms.amount_atomic)} {terms.currency} for {terms.method} {terms.url}",
        f"{approval.agent} asks: {approval.why}. To {terms.pay_to} on {terms.network}; "
        f"ends {until(approval.expires_at, now)}.",
        None,
        (
            Action("Approve", f"{href}/approve", "main", fields),
            Action("Deny", f"{href}/deny", "", fields),
        ),
    )


def _more_approvals(found: Found) -> Iterator[Todo]:
    if found.more_approvals > 0:
        yield Todo(
            "warn",
            f"{count(found.more_approvals, 'more payment waits', 'more payments wait')} for a person",
            f"The first {len(found.approvals)} questions are above.",
            None,
            (Action("Approvals", "/approvals"),),
        )


def _agent(agent: AgentItem) -> Iterator[Todo]:
    href = f"/agents/{agent.name}"
    if agent.state == "paused":
        yield Todo(
            "warn",
            f"{agent.name} is paused",
            agent.why or "It says no reason.",
            None,
            (Action("See what it needs", href),),
        )
    elif agent.state in IN_TROUBLE:
        yield Todo(
            "bad",
            f"{agent.name} does not run: its workflow was {agent.state.replace('_', ' ')}",
            "Its requests wait. Nothing is lost: it goes on where it was.",
            command_line("revive", agent.name),
        )


def _failing(recent: Sequence[FlowRow]) -> Iterator[Todo]:
    """Data that an agent has asked for in vain several times in a row; `recent` has the newest first."""
    by_data: defaultdict[tuple[str, str], list[FlowRow]] = defaultdict(list)
    for row in recent:
        if row.ended_at is not None:
            by_data[row.agent, row.endpoint].append(row)
    for (agent, endpoint), rows in by_data.items():
        in_vain = [row for row in rows[:IN_A_ROW] if flow_tone(row) == "bad"]
        if len(in_vain) == IN_A_ROW:
            yield Todo(
                "bad",
                f"{agent} gets nothing from {endpoint}",
                f"The last {IN_A_ROW} requests ended without content. The last one: {flow_text(rows[0])}.",
                None,
                (Action("See the agent", f"/agents/{agent}"),),
            )


def _disputes(found: Found) -> Iterator[Todo]:
    for first in found.disputes:
        yield Todo(
            "bad",
            f"{count(max(found.disputes_ended, 1), 'payment was', 'payments were')} made for data that did not come",
            f"The last: {amount(first.amount_atomic)} {first.currency} of {first.agent} for {first.url}.",
            None,
            (Action("Disputes", "/disputes"),),
        )


def _session(session: SessionRecord, now: datetime) -> Todo:
    return Todo(
        "warn",
        f"A session of {session.agent} ends {until(session.expires_at, now)}",
        f"After that {session.agent} cannot pay in {session.currency}.",
        None,
        (Action("Sessions", "/sessions"),),
    )
