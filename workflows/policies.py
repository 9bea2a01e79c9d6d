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

AGENT_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=8,
    non_retryable_error_types=PERMANENT,
)
"""An agent's steps in the ledger: about 22 s of tries, then it waits on a timer, so that an outage of days costs
little history."""

START_STEP = timedelta(seconds=60)
"""Starts up to 200 workflows, 32 at a time: a second or two, unless Temporal is busy."""

ANNOUNCE_STEP = timedelta(seconds=5)
ANNOUNCE_RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)
"""Hands a notice to the worker's outbox, without I/O; a notice that is lost is found in the ledger."""

BALANCES_STEP = timedelta(seconds=15)
ONCE = RetryPolicy(maximum_attempts=1)
"""Reading balances is the probe of the chain's breaker, which has the back-off."""

WAITS = "-waits"
"""The task queue for waits is the agent's own and this: they never take the place of payments."""

TOP_UP_WAIT = timedelta(minutes=10)
TOP_UP_STEP = timedelta(minutes=11)
TOP_UP_HEARTBEAT = timedelta(seconds=20)
TOP_UP_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
    non_retryable_error_types=PERMANENT,
)
"""Bounded, then begun again; balances are polled beside it, so nothing depends on it but the speed."""

WEBHOOK_STEP = timedelta(minutes=15)
WEBHOOK_HEARTBEAT = timedelta(seconds=20)
WEBHOOK_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
    non_retryable_error_types=[],
)
"""A round lasts ten minutes. What ends one is retried for ever, be it a missing key: nothing is lost meanwhile."""

UPKEEP = "-upkeep"
"""The task queue of the ledger's upkeep is the agent's own and this: it has a worker of its own, with other rights."""

UPKEEP_STEP = timedelta(hours=6)
UPKEEP_HEARTBEAT = timedelta(minutes=1)
UPKEEP_TRIES = 5
UPKEEP_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=10),
    backoff_coefficient=3,
    maximum_interval=timedelta(minutes=5),
    maximum_attempts=UPKEEP_TRIES,
    non_retryable_error_types=PERMANENT,
)
"""A million events are verified in six minutes. What does not answer is asked for seven minutes; then the run has
failed, and the schedule's next one begins anew."""

PURCHASE_STEP = timedelta(minutes=3)
PURCHASE_HEARTBEAT = timedelta(seconds=10)
CANCEL_STEP = timedelta(seconds=20)
PURCHASE_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=30),
    non_retryable_error_types=PERMANENT,
)
"""An agent that does not answer is asked again for as long as the caller waits: the same request is not taken twice."""
