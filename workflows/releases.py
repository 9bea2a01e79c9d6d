"""Tells runs that this release began from those of an earlier release, whose commands must stay as they were.

| run | recognized by | cost |
|---|---|---|
| a payment | its second argument, `PAYMENT_RELEASE`; without one, 0.2.0 began it | no event |
| an agent | one patch, the first command of a run | one marker and one upsert for thousands of payments |

A worker of another release, which does not know the second argument or its number, fails the workflow task. The server
offers the task again until a worker takes it that knows both; nothing happens meanwhile.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from autopay.domain.agent.steps import AGENT_RELEASE
    from autopay.domain.payment.steps import PAYMENT_RELEASE

NOTICE_LISTS = "notices-told-together"
"""A patch for runs of 0.2.0: see `takes_notice_lists`."""


def check_payment_release(release: int) -> None:
    """Raises RuntimeError, which leaves the task to another worker, if a newer release has begun this run."""
    if not 0 <= release <= PAYMENT_RELEASE:
        raise RuntimeError(f"release {release} of PaidRequest is not known here: a newer worker goes on with it")


def is_new_agent() -> bool:
    """Whether this release began the agent's run. First asked when a run begins; the answer never changes in a run."""
    return workflow.patched(AGENT_RELEASE)


def takes_notice_lists() -> bool:
    """Whether the agent takes notices in lists: also a run of 0.2.0, from the first list on that comes to this release.

    A worker of 0.2.0 has dropped the lists before it.
    """
    return is_new_agent() or workflow.patched(NOTICE_LISTS)
