"""Which sessions end soon. Pure."""

from datetime import UTC, datetime, timedelta

from autopay.domain.session import SessionRecord

SHARE, LEAST, MOST = 10, timedelta(minutes=10), timedelta(days=1)
"""A session ends soon in the last tenth of its time, which counts as ten minutes at least and a day at most."""


def ends_soon(session: SessionRecord, now: datetime | None = None) -> bool:
    """Whether its agent needs a new one before long."""
    left = session.expires_at - (now or datetime.now(UTC))
    if session.status != "ACTIVE" or not session.granted or left <= timedelta(0):
        return False
    return left <= min(max(timedelta(seconds=session.duration_s) / SHARE, LEAST), MOST)
