"""`fetch` and `read`: what another team's workflow calls."""

import base64
import json as json_module
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import FailureError

from autopay.temporal.nexus.contract import (
    ENDPOINT,
    INVALID,
    TOO_LARGE,
    WORKFLOW,
    WORKFLOW_PREFIX,
    AutopayService,
    Fetched,
    FetchInput,
    ReadInput,
)
from autopay.temporal.nexus.failures import FetchFailed, fetch_failed
from autopay.temporal.nexus.ids import default_id

UNSUITABLE = "converter_unsuitable"
"""Why a caller whose payload converter cannot read results does not get as far as paying."""

MAX_READ_BYTES = 20_000_000
"""What `read` brings into a workflow's history at most; Temporal ends a workflow at 50 MB of it."""

_SAMPLE = Fetched(id="a", agent="b", status="delivered", content_text="c")


async def fetch(
    url: str,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | str | None = None,
    json: Any = None,
    max_price: str | Decimal | None = None,
    currency: str | None = None,
    id: str | None = None,  # noqa: A002
    max_age: timedelta | float | None = None,
    agent: str | None = None,
    endpoint: str = ENDPOINT,
    task_queue: str | None = None,
    timeout: timedelta | None = None,
) -> Fetched:
    """Fetch data in a workflow, and have an agent pay for it if its seller asks for money. Never pays twice.

    Args:
        url: what to fetch, http or https.
        method: GET, or POST when there is a body.
        headers: sent to the seller. They are in your workflow's history, as your converter writes it.
        content: a body to send.
        json: a value to send as JSON, in place of `content`.
        max_price: pay at most this, in token units: "0.01".
        currency: pay in this one only: "USDC" or "CASH".
        id: your idempotency key: the same id of the same agent never pays twice. Without it one is made of this
            workflow's run and the terms, so that a retry, a replay or a reset does not pay twice: see ids.py.
        max_age: what the agent bought up to so long ago (seconds) will do; 0 always buys.
        agent: who pays; without it the one that Autopay's operator has chosen.
        endpoint: the Nexus endpoint of Autopay.
        task_queue: Autopay's task queue, for a caller in the same namespace: a child workflow is started there, and
            no endpoint is needed.
        timeout: how long to wait. The request goes on: the same id gets its result later.

    Raises:
        FetchFailed: nothing was fetched; `type` says why. Nothing was paid, unless it is `paid_undelivered`.
    """
    wanted = FetchInput(
        url=url,
        method=method,
        headers=_headers(headers, has_json=json is not None),
        currency=currency,
        max_price=None if max_price is None else str(max_price),
        id=id,
        max_age_s=_seconds(max_age),
        agent=agent,
        **_body(content, json),
    )
    _require_suitable_converter()
    wanted = replace(wanted, id=default_id(wanted)) if id is None else wanted
    assert wanted.id is not None
    try:
        if task_queue is None:
            return await _by_nexus(wanted, endpoint, timeout)
        return await _by_child(wanted, wanted.id, task_queue, timeout)
    except FailureError as error:
        failed = fetch_failed(error, wanted.id, timeout)
        if failed is None:
            raise
        raise failed from None


async def read(fetched: Fetched, *, endpoint: str = ENDPOINT, timeout: timedelta | None = None) -> bytes:
    """The whole content, also when it was too large to come with the result: in parts of 1 MB, through Nexus.

    Every part stays in your workflow's history. What is larger than 20 MB is read outside of a workflow.

    Raises:
        FetchFailed: it is larger (`content_too_large`), or cannot be read: it was thrown away (`content_pruned`), for
            example.
    """
    if (content := fetched.content) is not None:
        return content
    if fetched.size > MAX_READ_BYTES:
        raise FetchFailed(f"{fetched.size} bytes are too many for a workflow's history: read them outside", TOO_LARGE)
    autopay = workflow.create_nexus_client(service=AutopayService, endpoint=endpoint)
    parts, offset = bytearray(), 0
    while True:
        wanted = ReadInput(id=fetched.id, agent=fetched.agent, sha256=fetched.sha256, offset=offset)
        try:
            part = await autopay.execute_operation(
                AutopayService.read,
                wanted,
                schedule_to_close_timeout=timeout,
                summary=f"content from byte {offset} of {fetched.size}",
            )
        except FailureError as error:
            failed = fetch_failed(error, fetched.id, timeout)
            if failed is None:
                raise
            raise failed from None
        parts += base64.b64decode(part.content_base64)
        if part.next_offset is None:
            return bytes(parts)
        offset = part.next_offset


async def _by_nexus(wanted: FetchInput, endpoint: str, timeout: timedelta | None) -> Fetched:
    autopay = workflow.create_nexus_client(service=AutopayService, endpoint=endpoint)
    return await autopay.execute_operation(
        AutopayService.fetch, wanted, schedule_to_close_timeout=timeout, summary=_summary(wanted)
    )


async def _by_child(wanted: FetchInput, request_id: str, task_queue: str, timeout: timedelta | None) -> Fetched:
    """The child is left alone when its parent ends otherwise: the request goes on as one by Nexus does."""
    fetched: Fetched = await workflow.execute_child_workflow(
        WORKFLOW,
        wanted,
        id=f"{WORKFLOW_PREFIX}{request_id}/{workflow.uuid4().hex[:8]}",
        task_queue=task_queue,
        result_type=Fetched,
        execution_timeout=timeout,
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        static_summary=_summary(wanted),
    )
    return fetched


def _summary(wanted: FetchInput) -> str:
    parts = urlsplit(wanted.url)
    price = f", at most {wanted.max_price} {wanted.currency or ''}".rstrip() if wanted.max_price else ""
    return f"fetch {parts.netloc.rpartition('@')[2]}{parts.path}{price}"[:200]


def _body(content: bytes | str | None, json: Any) -> dict[str, str]:
    if json is not None:
        if content is not None:
            raise FetchFailed("content and json are both given: give one of them", INVALID)
        return {"content": json_module.dumps(json)}
    match content:
        case None:
            return {}
        case str():
            return {"content": content}
        case bytes():
            return {"content_base64": base64.b64encode(content).decode()}


def _headers(given: Mapping[str, str] | None, *, has_json: bool) -> dict[str, str] | None:
    headers = dict(given or {})
    if has_json and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return headers or None


def _seconds(age: timedelta | float | None) -> int | None:
    if age is None:
        return None
    return int(age.total_seconds() if isinstance(age, timedelta) else age)


def _require_suitable_converter() -> None:
    """See that this workflow can send what Autopay reads and read what it answers, before anything is paid."""
    converter = workflow.payload_converter()
    try:
        [sent] = converter.to_payloads([_SAMPLE])
        answer = Payload(metadata={"encoding": b"json/plain"}, data=sent.data)
        is_suitable = sent.metadata.get("encoding") == b"json/plain"
        is_suitable = is_suitable and converter.from_payloads([answer], [Fetched]) == [_SAMPLE]
    except Exception:
        is_suitable = False
    if not is_suitable:
        message = "the payload converter of this worker does not write and read dataclasses as JSON, as Temporal's does"
        raise FetchFailed(message, UNSUITABLE)
