"""What is done with the objects of requests."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from autopay.client.errors import AutopayError
from autopay.client.paid_http import MOST_DEMAND_BYTES, OWN_HEADERS_PREFIX, header_text, is_x402_demand
from autopay.transport.answers import Answer
from autopay.transport.bodies import Beginning, KeptBody
from autopay.transport.demand import NotPaid
from autopay.transport.errors import Ending, ending_of
from autopay.transport.flow import Asked

ATTRIBUTE = "autopay"
"""Of a response: its receipt, or why a demand was not paid."""


class RequestsLibrary:
    """Implements `Library` for one call.

    Args:
        errors: the class for each ending.
        adapter: what the responses say that they came by.
        timeout: the call's argument of that name.
    """

    def __init__(self, errors: Mapping[Ending, type[Exception]], adapter: Any, timeout: Any) -> None:
        self._errors = errors
        self._adapter = adapter
        self._timeout = timeout

    def asked(self, request: requests.PreparedRequest) -> Asked:
        """See the port."""
        parts = urlsplit(request.url or "")
        host = parts.netloc.rpartition("@")[2]
        return Asked(
            method=(request.method or "GET").upper(),
            url=urlunsplit((parts.scheme, host, parts.path or "/", parts.query, "")),
            headers=[(_text(name), _text(value)) for name, value in request.headers.items()],
            read_timeout_s=_read_timeout_s(self._timeout),
        )

    def prepared(self, request: requests.PreparedRequest) -> tuple[requests.PreparedRequest, KeptBody]:
        """See the port. Without our headers, and with a stream that is kept while it is sent."""
        sent = request.copy()
        for name in [name for name in sent.headers if _text(name).lower().startswith(OWN_HEADERS_PREFIX)]:
            del sent.headers[name]
        content: Any = request.body
        if isinstance(content, str):
            content = content.encode()
        if content is None or isinstance(content, bytes | bytearray):
            return sent, KeptBody.of(bytes(content or b""))
        body = KeptBody()
        kept: Any = _KeptFile(content, body) if hasattr(content, "read") else _KeptChunks(content, body)
        sent.body = kept
        return sent, body

    def demand(self, response: requests.Response, beginning: Beginning) -> requests.Response | None:
        """See the port."""
        raw, headers = beginning.raw, response.headers
        if not is_x402_demand(402, headers, _decoded(headers, raw)):
            response.raw = _raw(response, _Replayed(raw, beginning.rest))
            return None
        demand = requests.Response()
        demand.__dict__.update(response.__dict__)
        demand.raw = _raw(response, io.BytesIO(raw))
        return demand

    def answered(self, request: requests.PreparedRequest, answer: Answer) -> requests.Response:
        """See the port."""
        response = requests.Response()
        response.status_code = answer.status
        response.reason = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else ""
        headers = CaseInsensitiveDict({**answer.headers, "content-length": str(len(answer.content))})
        if answer.coding is not None and _is_decodable(answer.coding, answer.content):
            headers["content-encoding"] = answer.coding
        response.headers = headers
        response.encoding = get_encoding_from_headers(headers)
        response.url = request.url or ""
        response.request = request
        response.raw = _raw(response, io.BytesIO(answer.content))
        response.connection = self._adapter
        setattr(response, ATTRIBUTE, answer.receipt)
        return response

    def passed_on(self, demand: requests.Response, why: NotPaid) -> requests.Response:
        """See the port."""
        setattr(demand, ATTRIBUTE, why)
        return demand

    def error(
        self, request: requests.PreparedRequest, error: AutopayError, demand: requests.Response | None
    ) -> Exception:
        """See the port."""
        ending = ending_of(error)
        kind: Any = self._errors[ending]
        if ending is not Ending.REFUSED:
            found: Exception = kind(str(error), request=request)
            return found
        if demand is None:  # it was refused before, and the seller was not asked now
            demand = requests.Response()
            demand.status_code, demand.reason = 402, HTTPStatus.PAYMENT_REQUIRED.phrase
            demand.url, demand.request = request.url or "", request
            demand.raw = io.BytesIO()
        setattr(demand, ATTRIBUTE, NotPaid(type=error.type, message=str(error)))
        refused: Exception = kind(str(error), request=request, response=demand)
        return refused


def beginning_of(response: requests.Response) -> Beginning:
    """The beginning of its body, as it came. RequestException: it could not be read."""
    raw = bytearray()
    try:
        while part := response.raw.read(MOST_DEMAND_BYTES + 1 - len(raw), decode_content=False):
            raw += part
            if len(raw) > MOST_DEMAND_BYTES:
                break
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error, request=response.request, response=response) from error
    return Beginning(bytes(raw), response.raw if len(raw) > MOST_DEMAND_BYTES else None)


def _raw(response: requests.Response, body: io.IOBase) -> urllib3.HTTPResponse:
    """What requests reads a body from; cookies are taken from the answer as it came."""
    return urllib3.HTTPResponse(
        body=body,
        headers=dict(response.headers),
        status=response.status_code,
        reason=response.reason,
        preload_content=False,
        original_response=getattr(response.raw, "_original_response", None),
    )


def _decoded(headers: Mapping[str, str], raw: bytes) -> bytes:
    """The body as far as a demand may be long, and one byte more; nothing of one that cannot be decoded."""
    coding = headers.get("content-encoding")
    if coding is None or "payment-required" in headers:
        return raw
    try:
        decoded: bytes = _decoder(coding, raw).read(MOST_DEMAND_BYTES + 1, decode_content=True)
    except urllib3.exceptions.DecodeError:
        return b""
    return decoded


def _is_decodable(coding: str, content: bytes) -> bool:
    decoder = _decoder(coding, content)
    try:
        while decoder.read(MOST_DEMAND_BYTES, decode_content=True):
            pass
    except urllib3.exceptions.DecodeError:
        return False
    return True


def _decoder(coding: str | None, content: bytes) -> urllib3.HTTPResponse:
    headers = {} if coding is None else {"content-encoding": coding}
    return urllib3.HTTPResponse(body=io.BytesIO(content), headers=headers, preload_content=False)


def _read_timeout_s(timeout: Any) -> float | None:
    if isinstance(timeout, tuple):
        timeout = timeout[1]
        return math.inf if timeout is None else float(timeout)
    if isinstance(timeout, urllib3.Timeout):
        read = timeout.read_timeout
        return float(read) if isinstance(read, int | float) else None
    return None if timeout is None else float(timeout)


def _text(value: str | bytes) -> str:
    return header_text(value) if isinstance(value, bytes) else str(value)


class _KeptChunks:
    """A request's body in parts, kept while it is sent."""

    def __init__(self, chunks: Any, body: KeptBody) -> None:
        self._chunks = chunks
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        self._body.begin()
        for chunk in self._chunks:
            part = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
            self._body.add(part)
            yield part
        self._body.end()


class _KeptFile:
    """A file that is a request's body, kept while it is read."""

    def __init__(self, file: Any, body: KeptBody) -> None:
        self._file = file
        self._body = body
        body.begin()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        found = self._file.read(size)
        part = found.encode() if isinstance(found, str) else bytes(found)
        self._body.add(part)
        if not part or size < 0:
            self._body.end()
        return part

    def tell(self) -> int:
        """Where it is read. OSError: it does not say."""
        if not hasattr(self._file, "tell"):
            raise OSError("this file cannot be read again")
        return int(self._file.tell())

    def seek(self, position: int) -> int:
        """It is sent again."""
        self._body.begin()
        return int(self._file.seek(position))


class _Replayed(io.RawIOBase):
    """A body whose beginning was read: that, then the rest."""

    def __init__(self, beginning: bytes, rest: Any) -> None:
        self._beginning = io.BytesIO(beginning)
        self._rest = rest

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes read, 0 at the end."""
        read = self._beginning.readinto(buffer)
        if read or self._rest is None:
            return read
        found = self._rest.read(len(buffer), decode_content=False)
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close what the rest would come from."""
        if self._rest is not None:
            self._rest.close()
        super().close()
