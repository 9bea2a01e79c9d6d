"""The walk along the ledger's chains of events: of each, the first event that does not fit. Pure."""

from collections.abc import Iterable

from autopay.domain.audit.events import Event, Head, Reason, genesis, misfit
from autopay.domain.audit.report import MOST_FINDINGS, Finding, neighbour


class Findings:
    """What does not fit: the first thousand are kept, all are counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, finding: Finding) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < MOST_FINDINGS:
            self.kept.append(finding)


class ChainWalk:
    """Takes events in order, chain by chain; of each chain it tells the first event that does not fit."""

    def __init__(self, heads: Iterable[Head], findings: Findings) -> None:
        self.heads = {head.agent_id: head for head in heads}
        self.findings = findings
        self.chains = 0
        self._last: Head | None = None
        self._before: Event | None = None
        self._broken: Finding | None = None

    def take(self, event: Event) -> None:
        """The next event of this chain, or the first of the next one."""
        if self._last is None or event.agent_id != self._last.agent_id:
            self._close()
            self.chains += 1
            self._last, self._before = genesis(event.agent_id), None
        if self._broken is not None:
            if self._broken.around[-1].seq == self._broken.seq:
                around = (*self._broken.around, neighbour(event))
                self._broken = self._broken.model_copy(update={"around": around})
            return
        wrong = misfit(event, self._last)
        if wrong is None:
            self._last = Head(agent_id=event.agent_id, seq=event.seq, hash=event.hash)
            self._before = event
            return
        around = tuple(neighbour(each) for each in (self._before, event) if each is not None)
        self._broken = Finding(
            reason=wrong.reason,
            detail=wrong.detail,
            agent_id=event.agent_id,
            seq=event.seq,
            table=event.table,
            row_id=event.row_id,
            around=around,
        )

    def end(self) -> None:
        """There are no more events; what is left are heads without any."""
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
            lost = Finding(reason=Reason.HEAD_MISSING, detail="it has no head", agent_id=self._last.agent_id)
            self.findings.add(lost)
        elif head != self._last:
            if head.seq == self._last.seq:
                detail = f"its head has another hash than event {head.seq}"
            else:
                detail = f"its last event is {self._last.seq}, its head is at event {head.seq}"
            self.findings.add(_head_finding(head, detail))
        self._broken = None


def _head_finding(head: Head, detail: str) -> Finding:
    return Finding(reason=Reason.HEAD_DIFFERS, detail=detail, agent_id=head.agent_id, seq=head.seq)
