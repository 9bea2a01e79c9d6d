"""Checks the ledger's chains of events: every event must follow the one before, and the last one must be the head."""

from collections.abc import Iterable

from autopay.domain.audit.events import Event, Head, MismatchReason, event_mismatch, genesis
from autopay.domain.audit.report import MAX_LISTED_FINDINGS, AuditFinding, summarize_event


class AuditFindings:
    """Collects findings: the first thousand are kept, all are counted."""

    def __init__(self) -> None:
        self.kept: list[AuditFinding] = []
        self.count = 0

    def add(self, finding: AuditFinding) -> None:
        """Count this finding, and keep it while there are less than a thousand."""
        self.count += 1
        if len(self.kept) < MAX_LISTED_FINDINGS:
            self.kept.append(finding)


class EventChainCheck:
    """Takes events in order, chain by chain, and adds a finding for the first event of a chain that does not follow."""

    def __init__(self, heads: Iterable[Head], findings: AuditFindings) -> None:
        self.heads = {head.agent_id: head for head in heads}
        self.findings = findings
        self.chains = 0
        self._last: Head | None = None
        self._before: Event | None = None
        self._broken: AuditFinding | None = None

    def take(self, event: Event) -> None:
        """The next event of this chain, or the first of the next one."""
        if self._last is None or event.agent_id != self._last.agent_id:
            self._close()
            self.chains += 1
            self._last, self._before = genesis(event.agent_id), None
        if self._broken is not None:
            if self._broken.around[-1].seq == self._broken.seq:
                around = (*self._broken.around, summarize_event(event))
                self._broken = self._broken.model_copy(update={"around": around})
            return
        wrong = event_mismatch(event, self._last)
        if wrong is None:
            self._last = Head(agent_id=event.agent_id, seq=event.seq, hash=event.hash)
            self._before = event
            return
        around = tuple(summarize_event(each) for each in (self._before, event) if each is not None)
        self._broken = AuditFinding(
            reason=wrong.reason,
            detail=wrong.detail,
            agent_id=event.agent_id,
            seq=event.seq,
            table=event.table,
            row_id=event.row_id,
            around=around,
        )

    def end(self) -> None:
        """Finish after the last event: every head that is left has no events."""
        self._close()
        self._last = None
        for head in self.heads.values():
            self.findings.add(_head_finding(head, f"its head is at event {head.seq}, and it has no events"))
        self.heads.clear()

    def _close(self) -> None:
        if self._last is None:
            return
        head = self.heads.pop(self._last.agent_id, None)
        if self._broken is not None:
            self.findings.add(self._broken)
        elif head is None:
            lost = AuditFinding(
                reason=MismatchReason.HEAD_MISSING, detail="it has no head", agent_id=self._last.agent_id
            )
            self.findings.add(lost)
        elif head != self._last:
            if head.seq == self._last.seq:
                detail = f"its head has another hash than event {head.seq}"
            else:
                detail = f"its last event is {self._last.seq}, its head is at event {head.seq}"
            self.findings.add(_head_finding(head, detail))
        self._broken = None


def _head_finding(head: Head, detail: str) -> AuditFinding:
    return AuditFinding(reason=MismatchReason.HEAD_DIFFERS, detail=detail, agent_id=head.agent_id, seq=head.seq)
