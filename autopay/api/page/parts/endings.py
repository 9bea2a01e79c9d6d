"""Which sessions end soon. Pure."""

from datetime import UTC, datetime, timedelta

from autopay.domain.session import SessionRecord

SHARE, LEAST, MOST = 10, timedelta(minutes=10), timedelta(days=1)
"""A session ends soon in the last tenth of its time, which counts as ten minutes at least and a day at most."""


def is_near(begun: datetime, end: datetime, now: datetime) -> bool:
    """Whether this is the last part of a span of time, and not its end."""
    return timedelta(0) < end - now <= min(max((end - begun) / SHARE, LEAST), MOST)


def ends_soon(session: SessionRecord, now: datetime | None = None) -> bool:
    """Whether its agent needs a new one before long."""
    begun = session.expires_at - timedelta(seconds=session.duration_s)
    is_open = session.status == "ACTIVE" and session.granted
    return is_open and is_near(begun, session.expires_at, now or datetime.now(UTC))
