"""What takes time with a seller's megabytes happens beside the event loop, which other payments' heartbeats need."""

import hashlib
import threading
from typing import Any

import pytest

from autopay.adapters.postgres.payments import content
from autopay.adapters.postgres.payments.content import MAX_JSON_BYTES, prepared
from autopay.adapters.x402 import seller as seller_module
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from tests.unit.till import Till

BRACKETS = b"[" + b"[]," * 300_000 + b"[]]"


def threads_of(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> set[int]:
    """The threads in which that function of the module runs from now on."""
    seen: set[int] = set()
    function = getattr(module, name)

    def noted(*arguments: Any) -> Any:
        seen.add(threading.get_ident())
        return function(*arguments)

    monkeypatch.setattr(module, name, noted)
    return seen


async def test_a_large_body_is_hashed_and_parsed_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threads_of(monkeypatch, content, "_prepared")
    kept = await prepared(Reply(http_status=200, content_type="application/json", body=BRACKETS))
    assert kept.sha256 == hashlib.sha256(BRACKETS).hexdigest()
    assert isinstance(kept.payload, list)
    assert threading.get_ident() not in threads
    assert len(threads) == 1


async def test_json_of_many_megabytes_is_kept_as_bytes_only() -> None:
    body = b"[" + b"1," * (MAX_JSON_BYTES // 2) + b"1]"
    assert (await prepared(Reply(http_status=200, content_type="application/json", body=body))).payload is None


@pytest.mark.parametrize(
    ("body", "beside"),
    [pytest.param(BRACKETS, True, id="large"), pytest.param(BRACKETS[:20_000], False, id="small")],
)
async def test_a_large_402_is_read_in_another_thread(
    monkeypatch: pytest.MonkeyPatch, body: bytes, beside: bool
) -> None:
    threads = threads_of(monkeypatch, seller_module, "read_challenge")
    seller = HttpSeller()
    head = b"HTTP/1.1 402 Payment Required\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    async with Till().open(head % len(body) + body) as till:
        answer = await seller.ask(f"http://127.0.0.1:{till.port}/", "GET", RequestExtras())
    await seller.close()
    assert isinstance(answer, UnpaidReply)
    assert answer.reply.http_status == 402
    assert len(threads) == 1
    assert (threading.get_ident() not in threads) is beside
