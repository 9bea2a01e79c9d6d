"""Every time-out and retry policy of the workflows, in one place.

A time-out bounds a step, never a payment: what runs out of time in submit or verify is resolved, not failed.
"""

from datetime import timedelta

from temporalio.common import RetryPolicy

from autopay.domain.errors import permanent_names

PERMANENT = permanent_names()

LEDGER_STEP = timedelta(seconds=20)
"""recall, parse, log, enqueue: a few database statements."""

LEDGER_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=PERMANENT,
)
"""The ledger must answer before anything can go on: retried for as long as it takes."""

FETCH_STEP = timedelta(seconds=40)
FETCH_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=4,
    non_retryable_error_types=PERMANENT,
)
"""Nothing is at stake yet: after four tries (about 4 s of waiting) the seller counts as unavailable."""

SIGN_STEP = timedelta(seconds=40)
SIGN_TOTAL = timedelta(minutes=10)
SIGN_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=2),
    maximum_attempts=4,
    non_retryable_error_types=PERMANENT,
)
"""Idempotent in the ledger. When it is given up, the ledger is asked whether it was recorded after all; if not, the
request is held and tried again, so that an outage of the chain takes no slot from requests that need no payment."""

PARSE_RETRIES = LEDGER_RETRIES

SUBMIT_STEP = timedelta(seconds=150)
SUBMIT_HEARTBEAT = timedelta(seconds=10)
SUBMIT_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=5,
    non_retryable_error_types=PERMANENT,
)
"""120 s for the seller (a facilitator may take 30 s to confirm and be asked twice) and 30 s for the ledger. A dead
worker is noticed by its heartbeat; the retry hands over the same bytes, which is always safe."""

VERIFY_STEP = timedelta(seconds=40)
VERIFY_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=300),
    backoff_coefficient=2,
    maximum_attempts=3,
    non_retryable_error_types=PERMANENT,
)
"""Three quick tries; then the workflow waits on a timer, so that an outage of hours costs little history."""

ADOPT_STEP = timedelta(seconds=50)
ADOPT_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_attempts=3,
    non_retryable_error_types=PERMANENT,
)
"""A batch takes a second or two; what a run does not manage, the next one a minute later does."""
