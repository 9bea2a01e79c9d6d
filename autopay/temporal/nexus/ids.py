"""The id of a request whose caller names none: from the run of the caller's workflow and what it asks for.

It must be the same whenever the same purchase is asked for again, and another one for another purchase:

| what happens to the caller's workflow | its fetches get |
|---|---|
| its worker dies, or its history is replayed | the same ids |
| it is reset | the same ids: Temporal keeps the run in which it began (`original_execution_run_id`) |
| its retry policy runs it again | the same ids: those of its first run |
| it continues as new, or cron starts it again | new ids: it is another purchase |
| both a retry policy, and continued as new or cron | no id can be told: the caller has to name one |
| it is started again, also with the same workflow id | new ids |

A fetch is told from others of its run by its terms, and by how many of the same terms came before it. So a workflow
that is reset to run corrected code, which asks in another order or for more, still finds what it has paid for.
"""

import hashlib
import json
import re
from dataclasses import asdict

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from autopay.temporal.nexus.contract import FetchInput

ID_NEEDED = "id_needed"
"""Why a fetch without an id cannot be made."""

MAX_READABLE = 60
_COUNTS = "_autopay_fetches"
_TERMS = ("url", "method", "content", "content_base64", "max_price", "currency", "agent")


def default_id(wanted: FetchInput) -> str:
    """The id of this fetch: the caller's workflow id, as far as an id can hold it, and a hash.

    Raises:
        ApplicationError: none can be told (`id_needed`).
    """
    info = workflow.info()
    terms = {name: value for name, value in asdict(wanted).items() if name in _TERMS}
    told = json.dumps([info.namespace, _first_run(info), terms], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:24]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", info.workflow_id).strip("-._")[:MAX_READABLE]
    number = _count(digest)
    return f"wf-{readable}-{digest}" + (f"-{number}" if number > 1 else "")


def _first_run(info: workflow.Info) -> str:
    if info.attempt == 1:
        return info.original_execution_run_id
    if info.attempt == 2 and info.continued_run_id != info.first_execution_run_id:
        message = "name this fetch with id=: the workflow is retried, and was continued as new or runs by cron before"
        raise ApplicationError(message, type=ID_NEEDED, non_retryable=True)
    return info.first_execution_run_id


def _count(digest: str) -> int:
    """How often this run has asked so, this time included. Kept in the workflow object, which each run has anew."""
    caller = workflow.instance()
    counts: dict[str, int] | None = getattr(caller, _COUNTS, None)
    if counts is None:
        counts = {}
        try:
            object.__setattr__(caller, _COUNTS, counts)
        except AttributeError:
            message = "name this fetch with id=: the workflow's class has __slots__, so that fetches cannot be counted"
            raise ApplicationError(message, type=ID_NEEDED, non_retryable=True) from None
    counts[digest] = counts.get(digest, 0) + 1
    return counts[digest]
