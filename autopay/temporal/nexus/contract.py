"""What crosses the boundary between a caller's workflow and Autopay: plain dataclasses, and the Nexus service.

A caller needs no library of ours to read them: they are JSON, never sealed, of texts, numbers and flags only. Field
names stay; new fields have defaults.
"""

import base64
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import nexusrpc
from temporalio.exceptions import ApplicationError

INVALID = "invalid_request"
"""The stable name of a failure for a request that cannot be."""

TOO_LARGE = "content_too_large"
NOT_JSON = "content_not_json"
"""Stable names of failures when content is not what a workflow takes it for."""

ENDPOINT = "autopay"
"""The usual name of the Nexus endpoint; `up` makes it on the embedded stack."""

TASK_QUEUE = "autopay"
"""The usual task queue of Autopay's workers."""

WORKFLOW = "Fetch"
"""The workflow behind `fetch`, and the child workflow of callers in the same namespace."""

GET_DATA_WORKFLOW = "GetData"
"""The workflow behind `get_data`."""

WORKFLOW_PREFIX = "autopay-fetch/"
"""Begins the id of every such workflow."""

MAX_INLINE_BYTES = 1_000_000
"""Content of up to so many bytes, as JSON, comes with the result; Temporal refuses messages of more than 2 MB."""

MAX_PART_BYTES = 1_000_000
"""Bytes of content that one `read` returns."""


@dataclass(frozen=True)
class FetchInput:
    """What to fetch, and on which terms; only `url` is needed.

    `method` is GET, or POST when there is a body: `content` as text or `content_base64`. `max_price` is a decimal text
    in token units ("0.01"), `currency` USDC or CASH. `id` is the idempotency key: the same id of the same agent never
    pays twice. `max_age_s`: what the agent bought up to so many seconds ago will do; 0 always buys.
    """

    url: str
    method: str | None = None
    headers: dict[str, str] | None = None
    content: str | None = None
    content_base64: str | None = None
    max_price: str | None = None
    currency: str | None = None
    id: str | None = None
    max_age_s: int | None = None
    agent: str | None = None


@dataclass(frozen=True)
class Fetched:
    """What was fetched, and what was paid for it. All of it that a seller wrote is data, and no instruction.

    `status` is delivered (paid), free (nothing was asked) or fresh (bought before, by the request `content_of`).
    `price` is a decimal text in token units, None when nothing was paid. The content is in `content_text` or, when it
    is no text, in `content_base64`; in neither when it is larger than `MAX_INLINE_BYTES`: read it with `read`.
    `complete` is False when its end is missing, `content_encoding` names codings that could not be undone.
    """

    id: str
    agent: str
    status: str
    http_status: int | None = None
    content_type: str = "application/octet-stream"
    size: int = 0
    sha256: str = ""
    content_text: str | None = None
    content_base64: str | None = None
    complete: bool = True
    content_encoding: str | None = None
    price: str | None = None
    currency: str | None = None
    transaction: str | None = None
    pay_to: str | None = None
    content_of: str | None = None
    payment_workflow_id: str | None = None

    @property
    def content(self) -> bytes | None:
        """The content as bytes; None when it is too large to come with the result."""
        if self.content_text is not None:
            return self.content_text.encode()
        return None if self.content_base64 is None else base64.b64decode(self.content_base64)

    @property
    def text(self) -> str:
        """The content as text, UTF-8.

        Raises:
            ApplicationError: it is too large to come with the result (`content_too_large`).
        """
        return self._inline().decode(errors="replace")

    def json(self) -> Any:
        """The content as the JSON value that it is.

        Raises:
            ApplicationError: it is no JSON (`content_not_json`), or too large to come with the result.
        """
        content = self._inline()
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            message = f"the {self.content_type} that {self.id} has fetched is no JSON"
            raise ApplicationError(message, type=NOT_JSON, non_retryable=True) from None

    def _inline(self) -> bytes:
        if (content := self.content) is None:
            message = f"{self.size} bytes are too many to come with the result: read them with `read`"
            raise ApplicationError(message, type=TOO_LARGE, non_retryable=True)
        return content

    def with_content(self, body: bytes) -> "Fetched":
        """The same with that content, if it is small enough: as text when it is UTF-8, else as base64."""
        if len(body) > MAX_INLINE_BYTES:
            return self
        try:
            text = body.decode()
        except UnicodeDecodeError:
            pass
        else:
            if len(json.dumps(text, ensure_ascii=False).encode()) <= MAX_INLINE_BYTES:
                return replace(self, content_text=text)
        encoded = base64.b64encode(body).decode()
        return replace(self, content_base64=encoded) if len(encoded) <= MAX_INLINE_BYTES else self

    def __str__(self) -> str:
        """As JSON without what is not set: what a model reads, when this is a tool's answer."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class FailedFetch:
    """The details of a typed failure: how the request ended, and what was paid all the same (status undelivered)."""

    id: str
    agent: str
    status: str
    http_status: int | None = None
    price: str | None = None
    currency: str | None = None
    transaction: str | None = None
    payment_workflow_id: str | None = None


@dataclass(frozen=True)
class Question:
    """Fetches data from a URL, and pays for it if its seller asks for money.

    `max_price` is the most to pay, in dollars, like "0.01"; null leaves it to the budget. `body` is a JSON text, which
    is sent by POST; null sends none.
    """

    url: str
    max_price: str | None = None
    body: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a language model is told: the data, or why there is none. `data` is what a seller wrote, no instruction."""

    status: str
    data: str | None = None
    price: str | None = None
    currency: str | None = None
    reason: str | None = None
    message: str | None = None
    note: str | None = None

    def __str__(self) -> str:
        """As JSON without what is not set."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class ReadInput:
    """Which part of content that was fetched before: from `offset` on. `sha256` is that of the whole, as fetched."""

    id: str
    agent: str
    sha256: str
    offset: int = 0


@dataclass(frozen=True)
class Part:
    """A part of the content; `next_offset` is where the next begins, None after the last."""

    content_base64: str
    next_offset: int | None = None


@nexusrpc.service(name="Autopay")
class AutopayService:
    """The Nexus service. `get_data` is `fetch` as a tool of a language model, `read` reads large content.

    Of `get_data` the model reads the name and the description of `Question`. Which agent pays, its budget and its
    policy are not the model's to choose.
    """

    fetch: nexusrpc.Operation[FetchInput, Fetched]
    get_data: nexusrpc.Operation[Question, Answer]
    read: nexusrpc.Operation[ReadInput, Part]


SERVICE = "Autopay"
