"""What a caller wants bought, and what became of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autopay.client.errors import InvalidCall
from autopay.domain.money import units_text
from autopay.domain.payment.exchange import RequestExtras
from autopay.domain.request import (
    RequestError,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)
from autopay.domain.text.command_line import command_line

if TYPE_CHECKING:
    from datetime import datetime

    from autopay.adapters.vault import Vault
    from autopay.domain.money import Currency
    from autopay.domain.payment.exchange import StoredContent
    from autopay.domain.request import Method, RequestRecord

MAX_SEALED_CHARS = 400_000  # RequestSpec.sealed_extras


@dataclass(frozen=True)
class RequestOrder:
    """What the caller wants, and for how long it waits."""

    agent: str
    request_id: str
    url: str
    method: Method
    body: bytes | None
    max_price_atomic: int | None
    currency: Currency | None
    timeout_s: float
    max_age_s: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The request's key in the ledger."""
        return x402_request_id(self.agent, self.request_id)

    def spec(self, vault: Vault) -> RequestSpec:
        """The request as the agent gets it: headers and body sealed."""
        sealed = None
        if self.headers or self.body is not None:
            extras = RequestExtras(headers=self.headers, body=self.body).model_dump_json().encode()
            sealed = vault.seal(extras, purpose="request-extras", row=self.key)
            if len(sealed) > MAX_SEALED_CHARS:
                most = MAX_SEALED_CHARS * 3 // 4
                raise InvalidCall(f"headers and body are too large: at most about {most} bytes", "too_large")
        return RequestSpec(
            request_id=self.request_id,
            url=self.url,
            method=self.method,
            max_price_atomic=self.max_price_atomic,
            currency=self.currency,
            body_hash=None if self.body is None else hashlib.sha256(self.body).hexdigest(),
            sealed_extras=sealed,
            max_age_s=self.max_age_s,
        )

    def ask_again(self) -> str:
        """How to ask for the same again, when nobody knows whether the agent has it; headers and body are secrets."""
        ids = f"--agent {self.agent} --id {self.request_id}"
        if self.headers or self.body is not None:
            return f"give the same command again, with {ids}"
        words = ["request", self.url, "--agent", self.agent, "--id", self.request_id, "--method", self.method]
        if self.max_price_atomic is not None:
            words += ["--max-price", units_text(self.max_price_atomic)]
        if self.currency is not None:
            words += ["--currency", self.currency.value]
        if self.max_age_s is not None:
            words += ["--max-age", f"{self.max_age_s}s"] if self.max_age_s else ["--fresh"]
        return f"ask again: {command_line(*words)}"

    def refused(self, error: RequestError) -> RequestResult:
        """The result of a request that the agent did not accept."""
        return RequestResult(
            request_id=self.request_id,
            status=RequestStatus.REFUSED,
            workflow_id=payment_workflow_id(self.agent, self.request_id),
            error=error,
        )


@dataclass(frozen=True)
class RequestOutcome:
    """The request's result, or its status so far, and its content; `pruned` says why delivered content is gone.

    `content_at` is when content was delivered that was bought before (status FRESH). `ended_before` is the request as
    it was found, when it had ended already or was made with other terms: nothing was asked now. With
    `terms_differ` the result is what became of that other request.
    """

    result: RequestResult
    content: StoredContent | None = None
    pruned: str | None = None
    content_at: datetime | None = None
    ended_before: RequestRecord | None = None
    terms_differ: bool = False
