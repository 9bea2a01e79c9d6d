"""The seller adapter on a real network: where it connects, and what it takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from autopay.adapters.x402.checked_connection import Resolver, resolve
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import RequestExtras, UnpaidReply
from autopay.domain.policy.reach import Reach
from autopay.domain.refusal import RefusalReason, Refused
from tests.unit.till import OK, Names, Till, certificate

PUBLIC, LOOPBACK = "192.0.1.1", "127.0.0.1"
HTTP = Reach.of(["*.example"], [])
OPEN = Reach.of(["*.example"], ["*.example"])


@asynccontextmanager
async def selling(
    reach: Reach, resolver: Resolver = resolve, timeout_s: float = 10, limit: int = 100_000
) -> AsyncIterator[HttpSeller]:
    seller = HttpSeller(
        reach,
        body_limit_bytes=limit,
        paid_body_limit_bytes=limit,
        timeout_s=timeout_s,
        ask_timeout_s=timeout_s,
        resolve=resolver,
    )
    yield seller
    await seller.close()


async def ask(seller: HttpSeller, url: str) -> UnpaidReply | Refused:
    return await seller.ask(url, "GET", RequestExtras())


async def pay(seller: HttpSeller, url: str) -> bytes:
    return (await seller.pay(url, "GET", RequestExtras(), 2, b"payment")).body


async def test_a_name_that_resolves_to_loopback_is_refused_and_nobody_is_asked() -> None:
    async with Till().open(OK) as till, selling(HTTP, Names(shop_example=[[LOOPBACK]])) as seller:
        url = f"http://shop.example:{till.port}/"
        refused = await ask(seller, url)
        assert isinstance(refused, Refused)
        assert refused.reason is RefusalReason.ADDRESS_NOT_ALLOWED
        with pytest.raises(SellerUnavailable, match="AUTOPAY_ALLOWED_PRIVATE_HOSTS"):
            await pay(seller, url)
        assert till.asked == []


async def test_a_name_that_is_rebound_between_ask_and_pay_gets_no_payment() -> None:
    names = Names(shop_example=[[LOOPBACK], ["169.254.169.254"]])
    reach = Reach.of(["*.example"], [f"{LOOPBACK}/32"])
    closing = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    async with Till().open(closing) as till, selling(reach, names) as seller:
        url = f"http://shop.example:{till.port}/"
        assert isinstance(await ask(seller, url), UnpaidReply)
        with pytest.raises(SellerUnavailable, match="not asked"):
            await pay(seller, url)
        assert (len(till.asked), names.asked) == (1, ["shop.example"] * 2)


async def test_a_name_is_resolved_once_for_the_check_and_the_connection() -> None:
    names = Names(shop_example=[[LOOPBACK], [PUBLIC]])
    async with Till().open(OK) as till, selling(OPEN, names) as seller:
        assert await pay(seller, f"http://shop.example:{till.port}/") == b"ok"
        assert names.asked == ["shop.example"]


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, LOOPBACK],
        [PUBLIC, "::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%lo"],
        ["0.0.0.0"],  # noqa: S104 (an answer, not a bind)
    ],
)
async def test_one_address_that_is_not_allowed_refuses_the_name(answers: list[str]) -> None:
    async with Till().open(OK) as till, selling(HTTP, Names(shop_example=[answers])) as seller:
        refused = await ask(seller, f"http://shop.example:{till.port}/")
        assert isinstance(refused, Refused)
        assert refused.reason is RefusalReason.ADDRESS_NOT_ALLOWED
        assert till.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.1", "[::ffff:7f00:1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_loopback_in_disguise_is_refused_with_the_systems_resolver(host: str, scheme: str) -> None:
    async with Till().open(OK) as till, selling(Reach()) as seller:
        url = f"{scheme}://{host}:{till.port}/"
        refused = await ask(seller, url)
        assert isinstance(refused, Refused)
        wanted = RefusalReason.INSECURE_TRANSPORT if scheme == "http" else RefusalReason.ADDRESS_NOT_ALLOWED
        assert refused.reason is wanted
        with pytest.raises(SellerUnavailable, match="not asked"):
            await pay(seller, url)
        assert till.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://user:word@shop.example/",
        "https://shop.example\\@127.0.0.1/",
        "https://shop.example:443@127.0.0.1/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://\u24dbocalhost/",
        "https://b\u00fccher.example/",
        "https://shop\u3002example/",
        "https://[::1]shop.example/",
        "https://shop.example:99999/",
        "ftp://shop.example/",
        "https:///",
    ],
)
async def test_a_url_that_can_be_read_in_two_ways_or_in_none_is_refused(url: str) -> None:
    async with selling(OPEN, Names()) as seller:
        refused = await ask(seller, url)
        assert isinstance(refused, Refused)
        assert refused.reason is RefusalReason.INSECURE_TRANSPORT


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST"])
async def test_loopback_by_its_own_name_is_asked_and_paid(host: str) -> None:
    async with Till().open(OK) as till, selling(Reach()) as seller:
        url = f"http://{host}:{till.port}/"
        assert isinstance(await ask(seller, url), UnpaidReply)
        assert await pay(seller, url) == b"ok"


async def test_the_first_address_that_takes_a_connection_is_used() -> None:
    async with Till().open(OK) as till, selling(OPEN, Names(shop_example=[["127.0.0.2", LOOPBACK]])) as seller:
        assert await pay(seller, f"http://shop.example:{till.port}/") == b"ok"


@pytest.mark.parametrize("answers", [[], None])
async def test_a_name_without_an_address_is_a_seller_that_is_not_there(answers: list[str] | None) -> None:
    names = Names(shop_example=[answers]) if answers is not None else Names()
    async with selling(OPEN, names) as seller:
        with pytest.raises(SellerUnavailable, match="ConnectError"):
            await ask(seller, "https://shop.example/")


async def test_tls_names_and_verifies_the_host_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, trusted = certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    names = Names(shop_example=[[LOOPBACK]], other_example=[[LOOPBACK]])
    async with Till().open(OK, context) as till, selling(OPEN, names) as seller:
        assert await pay(seller, f"https://shop.example:{till.port}/") == b"ok"
        with pytest.raises(SellerUnavailable, match="ConnectError"):
            await pay(seller, f"https://other.example:{till.port}/")
        assert till.names == ["shop.example", "other.example"]
        assert len(till.asked) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Till().open(OK) as proxy, Till().open(OK) as till:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with selling(OPEN, Names(shop_example=[[LOOPBACK]])) as seller:
            assert await pay(seller, f"http://shop.example:{till.port}/") == b"ok"
        assert (len(proxy.asked), len(till.asked)) == (0, 1)


async def test_a_question_follows_no_redirect_and_a_payment_takes_no_header_along() -> None:
    async with Till().open(OK) as other:
        answer = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:%d/\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        async with Till().open(answer % other.port) as till, selling(Reach()) as seller:
            url, extras = f"http://127.0.0.1:{till.port}/", RequestExtras(headers={"Authorization": "secret"})
            plain = await seller.ask(url, "GET", extras)
            assert isinstance(plain, UnpaidReply)
            assert (plain.reply.http_status, other.asked) == (307, [])
            reply = await seller.pay(url, "POST", extras.model_copy(update={"body": b"question"}), 2, b"payment")
            assert (reply.http_status, reply.body, reply.location) == (200, b"ok", None)
            (asked,) = other.asked
            assert asked.startswith(b"GET / ")
            assert not any(word in asked.lower() for word in (b"payment", b"secret", b"question", b"cookie"))
            assert all(b"ookie" not in asked for asked in till.asked)


HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "a header of a megabyte": HEAD + b"A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "a status line of a megabyte": b"HTTP/1.1 200 " + b"a" * 1_000_000 + b"\r\n\r\n",
    "headers of a megabyte": HEAD + b"A: a\r\n" * 170_000 + b"\r\n",
    "a chunk header of a megabyte": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 1_000_000,
    "junk": b"\x00" * 200_000,
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
async def test_an_answer_without_bounds_is_no_answer(answer: bytes) -> None:
    async with Till().open(answer) as till, selling(Reach()) as seller:
        for exchange in (ask, pay):
            with pytest.raises(SellerUnavailable):
                await exchange(seller, f"http://127.0.0.1:{till.port}/")


@pytest.mark.parametrize(
    "drip",
    [(HEAD, b"A"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["headers", "informational"],
)
async def test_a_slow_drip_is_cut_by_the_total_time(drip: tuple[bytes, bytes]) -> None:
    async def forever(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, then = drip
        writer.write(first)
        while not writer.transport.is_closing():
            writer.write(then)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with Till().open(forever) as till, selling(Reach(), timeout_s=0.2) as seller:
        for exchange in (ask, pay):
            with pytest.raises(SellerUnavailable, match="Timeout"):
                await exchange(seller, f"http://127.0.0.1:{till.port}/")


async def test_a_resolver_that_hangs_is_cut_by_the_total_time() -> None:
    async def hangs(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with selling(OPEN, hangs, timeout_s=0.1) as seller:
        with pytest.raises(SellerUnavailable, match="Timeout"):
            await pay(seller, "https://shop.example/")
