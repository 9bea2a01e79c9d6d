"""Sellers that break HTTP: cuts, drips, floods, redirects, headers that hide other headers."""

import gzip

from autopay.domain.refusal import RefusalReason
from tests.hostile.asking import asks, encoded, entry, offer
from tests.hostile.conduct import GOODS, delivers, in_turn, says, sends, settles, streams
from tests.hostile.scene import PRICE, Scene
from tests.hostile.way import DELIVERED, FREE, UNAVAILABLE, UNDELIVERED, Way, failed, refused

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PART = b"x" * 65_536
LONG = b"Content-Length: 1000000\r\n\r\n"
BOMB = gzip.compress(b"\0" * 60_000_000, 1)
YEAR_S = 31_536_000


def _trap(scene: Scene) -> list[tuple[str, str]]:
    return [("Location", f"{scene.places.trap_url}?{scene.name}")]


def _injected(scene: Scene) -> bytes:
    hidden = encoded(offer(scene, entry(scene)))
    return f"HTTP/1.1 402 Pay\r\nX-Said: a\nPAYMENT-REQUIRED: {hidden}\x00\r\nContent-Length: 0\r\n\r\n".encode()


_PLAIN = [
    Way(name="endless body", does="never stops talking", plain=streams(OK + b"\r\n", PART), ends=(FREE,)),
    Way(
        name="slow drip",
        does="sends a byte now and then, for ever",
        plain=streams(OK + b"Content-Length: 1000000\r\n\r\n", b"x", 0.05),
        ends=(FREE,),
        impatient=True,
    ),
    Way(
        name="slow headers",
        does="sends headers now and then, for ever",
        plain=streams(OK, b"X: y\r\n", 0.05),
        ends=(UNAVAILABLE,),
        impatient=True,
    ),
    Way(
        name="never answers",
        does="takes the request and is silent",
        plain=sends(b"", pause_s=60),
        ends=(UNAVAILABLE,),
        impatient=True,
    ),
    Way(
        name="endless early hints",
        does="announces an answer for ever",
        plain=streams(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001),
        ends=(UNAVAILABLE,),
        impatient=True,
    ),
    Way(
        name="offer cut in the middle",
        does="hangs up within its offer",
        plain=sends(b'HTTP/1.1 402 Pay\r\nContent-Length: 900\r\n\r\n{"x402Version": 1, "accepts": ['),
        ends=(UNAVAILABLE,),
    ),
    Way(name="not HTTP", does="speaks something else", plain=sends(b"SSH-2.0-OpenSSH\r\n"), ends=(UNAVAILABLE,)),
    Way(name="header injection", does="hides an offer in another header", plain=sends(_injected), ends=(UNAVAILABLE,)),
    Way(
        name="negative length",
        does="says that its body has -1 bytes",
        plain=sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        ends=(UNAVAILABLE,),
    ),
    Way(
        name="two lengths",
        does="says two lengths",
        plain=sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
        ends=(UNAVAILABLE,),
    ),
    Way(
        name="busy for a year",
        does="asks to come back next year",
        plain=says(429, [("Retry-After", str(YEAR_S))]),
        ends=(UNAVAILABLE,),
    ),
    *(
        Way(
            name=f"redirect to {name}",
            does="sends the plain request elsewhere",
            plain=says(status, where),
            ends=(failed("seller_redirects"),),
        )
        for name, status, where in (
            ("another host", 302, _trap),
            ("another host for good", 308, _trap),
            ("a private address", 307, [("Location", "http://169.254.169.254/latest/meta-data/")]),
            ("a file", 301, [("Location", "file:///etc/passwd")]),
            ("nowhere", 302, [("Location", "//")]),
        )
    ),
    Way(
        name="offer within a redirect",
        does="redirects, and asks for money beside it",
        plain=says(307, lambda scene: [*_trap(scene), ("PAYMENT-REQUIRED", encoded(offer(scene, entry(scene))))]),
        ends=(failed("seller_redirects"),),
    ),
    Way(
        name="offer for nobody",
        does="asks for money with a status that does not exist",
        plain=says(999, lambda scene: [("PAYMENT-REQUIRED", encoded(offer(scene, entry(scene))))]),
        ends=(UNAVAILABLE,),
    ),
]

_PAID = [
    Way(
        name=f"paid and {name}",
        does=f"settles, and then {does}",
        plain=asks(),
        paid=settles(act),
        ends=(end,),
        moves=PRICE,
        impatient=impatient,
    )
    for name, does, act, end, impatient in (
        ("cut", "hangs up within the goods", sends(OK + b'Content-Length: 900\r\n\r\n{"data": '), UNDELIVERED, False),
        ("dripping", "sends a byte now and then", streams(OK + LONG, b"x", 0.05), DELIVERED, True),
        ("flooding", "sends more than is kept", sends(OK + b"\r\n" + PART), DELIVERED, False),
        ("hinting", "announces for ever", streams(b"", b"HTTP/1.1 103 Hints\r\n\r\n", 0.001), UNDELIVERED, True),
        ("compressed", "compresses unasked", says(200, [("Content-Encoding", "br")], b"goods"), DELIVERED, False),
        ("lying of gzip", "compresses nothing", says(200, [("Content-Encoding", "gzip")], GOODS), DELIVERED, False),
        ("a bomb", "compresses gigabytes", says(200, [("Content-Encoding", "gzip")], BOMB), DELIVERED, False),
        (
            "busy for a year",
            "asks to come back next year",
            says(503, [("Retry-After", str(YEAR_S))]),
            UNDELIVERED,
            False,
        ),
    )
]

_REDIRECTED = [
    Way(
        name=f"paid and redirected to {name}",
        does="settles, and says that the goods are elsewhere",
        plain=asks(),
        paid=settles(says(307, where)),
        ends=(end,),
        moves=PRICE,
        redirects=end is DELIVERED,
    )
    for name, where, end in (
        ("another host", _trap, DELIVERED),
        ("a private address", [("Location", "http://169.254.169.254/latest/meta-data/")], UNDELIVERED),
        ("a file", [("Location", "file:///etc/passwd")], UNDELIVERED),
        ("a name that hides another", [("Location", "http://good.example@127.0.0.1/")], UNDELIVERED),
    )
]

_ODD = [
    Way(
        name="paid redirect without settling",
        does="sends every payment elsewhere, and settles none",
        plain=asks(),
        paid=says(308, _trap),
        ends=(DELIVERED,),
        signs=1,
        redirects=True,
    ),
    Way(
        name="cut once",
        does="settles, hangs up, and delivers when it is asked again",
        plain=asks(),
        paid=settles(in_turn(sends(OK + b"Content-Length: 900\r\n\r\n"), delivers())),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    *(
        Way(
            name=f"delivers {name}",
            does="settles, and delivers in an odd but legal way",
            plain=asks(),
            paid=settles(sends(answer)),
            ends=(DELIVERED,),
            moves=PRICE,
        )
        for name, answer in (
            ("in HTTP 1.0", b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOODS),
            (
                "in chunks with trailers",
                OK + b"Transfer-Encoding: chunked\r\n\r\nc\r\n" + GOODS + b"\r\n0\r\nPAYMENT-REQUIRED: e30=\r\n\r\n",
            ),
            ("after early hints", b"HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n" * 3 + OK + b"Content-Length: 0\r\n\r\n"),
        )
    ),
    Way(
        name="asks in HTTP 1.0",
        does="makes its offer in the old HTTP",
        plain=sends(
            lambda scene: (
                b"HTTP/1.0 402 Pay\r\nPAYMENT-REQUIRED: " + encoded(offer(scene, entry(scene))).encode() + b"\r\n\r\n"
            )
        ),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="asks in a trailer",
        does="makes its offer after the body, where nobody looks",
        plain=sends(
            lambda scene: (
                b"HTTP/1.1 402 Pay\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nPAYMENT-REQUIRED: "
                + encoded(offer(scene, entry(scene))).encode()
                + b"\r\n\r\n"
            )
        ),
        ends=(refused(RefusalReason.OFFER_MALFORMED),),
    ),
]

WAYS = [*_PLAIN, *_PAID, *_REDIRECTED, *_ODD]
