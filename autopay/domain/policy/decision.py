"""Whether a person's decision may still be recorded: one rule, and one text, for every store. Pure."""

from datetime import datetime

from autopay.domain.policy.policy import Decision
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.refusal import RefusalReason, Refused

NOBODY_ASKED = Refused(reason=RefusalReason.TERMS_DIFFER, message="nobody was asked about these terms")


def wanted_by(decision: Decision) -> ApprovalStatus:
    """The status that a question has after this decision."""
    return ApprovalStatus.APPROVED if decision.approve else ApprovalStatus.DENIED


def decision_refusal(
    decision: Decision, status: ApprovalStatus, decided_at: datetime | None, expires_at: datetime, now: datetime
) -> Refused | None:
    """Why a question that stands so does not take the decision; None when it does, or had it before."""
    if status is wanted_by(decision):
        return None
    if status is ApprovalStatus.EXPIRED and decided_at is not None:
        message = f"the question was withdrawn at {decided_at:%F %T}: the agent's phase was changed"
        return Refused(reason=RefusalReason.APPROVAL_EXPIRED, message=message)
    if status is ApprovalStatus.EXPIRED or (status is ApprovalStatus.PENDING and expires_at <= now):
        return Refused(reason=RefusalReason.APPROVAL_EXPIRED, message=f"the question expired at {expires_at:%F %T}")
    # A yes can be taken back for as long as nothing was signed by it; a no is final.
    if status is not ApprovalStatus.PENDING and (decision.approve or status is ApprovalStatus.CONSUMED):
        return Refused(reason=RefusalReason.APPROVAL_DENIED, message=f"it was decided before: {status.value}")
    return None
