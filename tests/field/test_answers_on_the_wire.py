"""What paid answers look like in the field, over real connections: each is content, and none is dropped."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply, RequestExtras
from autopay.domain.policy.reach import Reach
from tests.unit.till import Script, Till

HEAD = b"HTTP/1.1 200 OK\r\n"
DATA = b"what was paid for. " * 50
LIMIT = 2_000


@asynccontextmanager
async def selling(timeout_s: float = 10) -> AsyncIterator[HttpSeller]:
    seller = HttpSeller(Reach(), body_limit_bytes=100, paid_body_limit_bytes=LIMIT, timeout_s=timeout_s)
    yield seller
    await seller.close()


async def pay(seller: HttpSeller, till: Till) -> Reply:
    url = f"http://127.0.0.1:{till.port}/"
    return await seller.pay(url, "GET", RequestExtras(), 2, b"payment")


def answer(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(each + b"\r\n" for each in (b"Content-Length: %d" % len(body), *headers)) + b"\r\n" + body


async def test_a_header_beyond_ascii_is_sent_as_utf8() -> None:
    async with Till().open(answer(DATA)) as till, selling() as seller:
        extras = RequestExtras(headers={"X-City": "Zürich"})
        await seller.ask(f"http://127.0.0.1:{till.port}/", "GET", extras)
        assert "X-City: Zürich".encode() in till.asked[0]


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"3b6\r\n%b\r\n" % DATA * 4

WHOLE = {
    "gzip that was not asked for": answer(gzip.compress(DATA), b"Content-Encoding: gzip"),
    "300 headers": answer(DATA, *[b"X-Trace-%d: 1" % number for number in range(300)]),
    "without a length": HEAD + b"Connection: close\r\n\r\n" + DATA,
}


@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_an_unusual_answer_is_the_content(sent: bytes) -> None:
    async with Till().open(sent) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (reply.body, reply.complete, reply.encoding) == (DATA, True, None)


async def test_a_coding_that_nobody_knows_is_kept_with_its_name() -> None:
    async with Till().open(answer(DATA, b"Content-Encoding: br")) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (reply.body, reply.complete, reply.encoding) == (DATA, True, "br")


@pytest.mark.parametrize("sent", [answer(b"a" * 3_000), CHUNKED], ids=["length", "chunked"])
async def test_a_longer_body_than_the_bound_is_kept_as_far_as_that(sent: bytes) -> None:
    async with Till().open(sent) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (len(reply.body), reply.complete) == (LIMIT, False)


async def test_a_body_that_is_cut_is_no_answer_as_the_same_bytes_bring_it_again() -> None:
    cut = HEAD + b"Content-Length: 5000\r\n\r\n" + DATA
    async with Till().open(cut) as till, selling() as seller:
        with pytest.raises(SellerUnavailable):
            await pay(seller, till)


async def test_a_stream_that_says_it_is_done_is_complete_and_one_that_never_ends_is_kept() -> None:
    events = b"data: {}\n\ndata: [DONE]\n\n"

    def streams(content: bytes) -> Script:
        async def stay_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + b"Content-Type: text/event-stream\r\n\r\n" + content)
            await writer.drain()
            await reader.read()

        return stay_open

    async with Till().open(streams(events)) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (reply.body, reply.complete) == (events, True)
    async with Till().open(streams(b"data: 1\n\n")) as till, selling(timeout_s=0.3) as seller:
        reply = await pay(seller, till)
        assert (reply.body, reply.complete) == (b"data: 1\n\n", False)


async def test_an_address_that_may_not_be_asked_is_kept_and_shown() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/file\r\nContent-Length: 0\r\n\r\n"
    async with Till().open(moved) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (reply.http_status, reply.location) == (302, "http://10.0.0.1/file")


async def test_redirects_in_a_circle_end() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with Till().open(moved) as till, selling() as seller:
        reply = await pay(seller, till)
        assert (reply.http_status, reply.location) == (302, f"http://127.0.0.1:{till.port}/again")
        assert len(till.asked) == 4
