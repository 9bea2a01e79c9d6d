"""Offers that are malformed, oversized, doubled, or for something else."""

import base64
import gzip
import json
from typing import Any

from autopay.domain.refusal import RefusalReason
from tests.hostile.asking import JSON, asks, asks_all, encoded, entry, offer
from tests.hostile.conduct import says
from tests.hostile.scene import PRICE, Scene, Spoken, its
from tests.hostile.way import DELIVERED, FREE, UNAVAILABLE, Way, failed, refused

MALFORMED, TOO_LARGE = (refused(RefusalReason.OFFER_MALFORMED),), (refused(RefusalReason.OFFER_TOO_LARGE),)


def _in_header(text: bytes) -> list[tuple[str, str]]:
    return [("PAYMENT-REQUIRED", base64.b64encode(text).decode())]


def _with_key_twice(scene: Scene) -> list[tuple[str, str]]:
    text = json.dumps(offer(scene, entry(scene)))
    return _in_header(text.replace('"amount":', '"amount": "1", "amount":').encode())


def _two_headers(scene: Scene) -> list[tuple[str, str]]:
    cheap, dear = offer(scene, entry(scene)), offer(scene, entry(scene, amount="5000"))
    padded = next(each for pad in range(3) if (each := encoded(cheap | {"pad": "x" * pad})).endswith("="))
    return [("PAYMENT-REQUIRED", padded), ("PAYMENT-REQUIRED", encoded(dear))]


def _doubled(scene: Scene, *names: str, value: str = '"another"') -> list[tuple[str, str]]:
    text = json.dumps(offer(scene, entry(scene), extensions={"a": 1}))
    for name in names:
        text = text.replace(f'"{name}":', f'"{name}": {value}, "{name}":', 1)
    return _in_header(text.encode())


def _two_memos(scene: Scene) -> bytes:
    text = json.dumps(offer(scene, entry(scene, 1, extra={"memo": "one"}), version=1))
    return text.replace('"memo":', '"memo": "another", "memo":').encode()


def _overlong(scene: Scene) -> bytes:
    text = json.dumps(offer(scene, entry(scene, 1), version=1, error="HERE"))
    return text.encode().replace(b"HERE", b"\xc0\xa2,\xc0\xa2maxAmountRequired\xc0\xa2:\xc0\xa290000")


def _deep_note(scene: Scene, depth: int) -> bytes:
    text = json.dumps(offer(scene, entry(scene), error="DEEP"))
    return text.replace('"DEEP"', "[" * depth + "]" * depth).encode()


_LOOK_ALIKES: dict[str, Spoken] = {
    "p\u0430yTo": its("thief"),
    "payTo\u200b": its("thief"),
    "\uff50ayTo": its("thief"),
    "\u0430mount": "90000",
    "amount\u0301": "90000",
}
"""Cyrillic, full-width and combining twins of keys that count."""


def _bomb(_: Scene) -> bytes:
    return gzip.compress(b" " * 10_000_000)


def _deep(scene: Scene, depth: int) -> bytes:
    text = json.dumps(offer(scene, entry(scene, extra={"a": "DEEP"})))
    return text.replace('"DEEP"', "[" * depth + "]" * depth).encode()


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


WAYS = [
    Way(name="402 without anything", does="says 402 and no more", plain=says(402), ends=MALFORMED),
    Way(
        name="402 with a web page",
        does="shows a page with a link to pay",
        plain=says(402, [("Content-Type", "text/html")], b"<a href='https://pay.example'>Pay</a>"),
        ends=MALFORMED,
    ),
    Way(
        name="header not base64",
        does="puts JSON into the header as it is",
        plain=says(402, lambda scene: [("PAYMENT-REQUIRED", json.dumps(offer(scene, entry(scene))))]),
        ends=MALFORMED,
    ),
    Way(
        name="header with junk around the base64",
        does="hides characters in the header that lax decoders skip",
        plain=says(402, lambda scene: [("PAYMENT-REQUIRED", "\t;;" + encoded(offer(scene, entry(scene))) + "!")]),
        ends=MALFORMED,
    ),
    Way(
        name="header of junk",
        does="sends random bytes in base64",
        plain=says(402, _in_header(bytes(range(256)))),
        ends=MALFORMED,
    ),
    Way(
        name="header is a list",
        does="sends JSON that is no object",
        plain=says(402, _in_header(b"[2]")),
        ends=MALFORMED,
    ),
    Way(
        name="two headers that disagree",
        does="sends the offer's header twice, with two prices",
        plain=says(402, _two_headers),
        ends=MALFORMED,
    ),
    Way(
        name="header of 70 kB",
        does="sends 70,000 characters of header that mean nothing",
        plain=says(402, [("PAYMENT-REQUIRED", "A" * 70_000)]),
        ends=MALFORMED,
    ),
    Way(
        name="header of a megabyte",
        does="sends a header line that never seems to end",
        plain=says(402, [("PAYMENT-REQUIRED", "A" * 1_000_000)]),
        ends=(UNAVAILABLE,),
    ),
    Way(
        name="ten thousand headers",
        does="sends more header lines than anybody needs",
        plain=says(402, [("X", "y")] * 10_000),
        ends=MALFORMED,
    ),
    Way(name="a key twice", does="names two amounts in one object", plain=says(402, _with_key_twice), ends=MALFORMED),
    Way(
        name="a list of 200 ways to pay",
        does="lists more ways to pay than anybody needs, the last one cheapest by a unit",
        plain=asks_all(lambda scene: offer(scene, *[entry(scene)] * 150, entry(scene, amount=str(PRICE - 1)))),
        ends=(DELIVERED,),
        moves=PRICE - 1,
    ),
    Way(
        name="a list of 10,000 ways to pay",
        does="lists ten thousand empty ways to pay",
        plain=says(402, [JSON], json.dumps({"x402Version": 1, "accepts": [{}] * 10_000}).encode()),
        ends=MALFORMED,
    ),
    Way(
        name="no way to pay",
        does="lists none",
        plain=asks_all(offer),
        ends=(refused(RefusalReason.OFFER_EMPTY),),
    ),
    Way(
        name="nested 10,000 deep",
        does="nests lists in its extensions until parsers fall over",
        plain=says(
            402, _in_header(b'{"x402Version":2,"accepts":[],"extensions":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}")
        ),
        ends=MALFORMED,
    ),
    Way(
        name="nested 60 deep",
        does="nests what is echoed deeply, but not too deeply",
        plain=asks(extra={"a": _nested(55)}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="nested 900 deep",
        does="nests what is echoed so deeply that reading it just works, and writing it may not",
        plain=says(402, lambda scene: _in_header(_deep(scene, 900))),
        ends=MALFORMED,
    ),
    Way(
        name="offer of 5 MB",
        does="lists ways to pay for megabytes",
        plain=says(402, [JSON], lambda _: b'{"x402Version":1,"accepts":[' + b"{}," * 1_500_000 + b"{}]}"),
        ends=TOO_LARGE,
    ),
    Way(
        name="402 with a gzip bomb",
        does="compresses 10 MB into 10 kB, which nobody asked for",
        plain=says(402, [JSON, ("Content-Encoding", "gzip")], _bomb),
        ends=TOO_LARGE,
    ),
    Way(
        name="version 3",
        does="speaks a protocol of tomorrow",
        plain=asks_all(lambda scene: offer(scene, entry(scene), x402Version=3)),
        ends=MALFORMED,
    ),
    Way(
        name="half a character",
        does="hides half a surrogate pair in its texts",
        plain=asks(extra={"name": "\ud800"}),
        ends=MALFORMED,
    ),
    Way(
        name="version with a fraction",
        does="gives its version as 2.0",
        plain=asks_all(lambda scene: offer(scene, entry(scene), x402Version=2.0)),
        ends=MALFORMED,
    ),
    Way(
        name="accepts is an object",
        does="gives one way to pay where a list should be",
        plain=asks_all(lambda scene: offer(scene, accepts=entry(scene))),
        ends=MALFORMED,
    ),
    Way(
        name="not a number in extra",
        does="sends JSON that is none",
        plain=says(
            402, lambda scene: _in_header(json.dumps(offer(scene, entry(scene, extra={"a": float("nan")}))).encode())
        ),
        ends=MALFORMED,
    ),
    *(
        Way(
            name=f"resource {name}",
            does="calls what it sells something of another origin, which is only a name",
            plain=asks(top={"resource": {"url": url, "description": "", "mimeType": ""}}),
            ends=(DELIVERED,),
            moves=PRICE,
        )
        for name, url in (
            ("of another host", "https://other.example/data"),
            ("of another port", "http://127.0.0.1:1/data"),
            ("without a host", "javascript:pay()"),
            ("behind a user name", "http://127.0.0.1@other.example/data"),
        )
    ),
    Way(
        name="v1 resource of another host",
        does="the same in the old protocol",
        plain=asks(version=1, resource="https://other.example/data"),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="resource is a text",
        does="gives its resource as text in v2",
        plain=asks(top={"resource": "https://other.example/data"}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="extensions of junk",
        does="sends extensions of every type, which are echoed or left out",
        plain=asks(top={"extensions": {"a": [None, {"b": 1e300}], "payment-identifier": 7, "\u0000": "\u0000"}}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="extensions are a list",
        does="sends extensions that are no object",
        plain=asks(top={"extensions": ["payment-identifier"]}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="extensions of 40 kB",
        does="wants to be echoed at length",
        plain=asks(top={"extensions": {"a": "x" * 40_000}}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="a way to pay of 20 kB",
        does="wants to be echoed at more length than servers take",
        plain=asks(extra={"a": "x" * 20_000}),
        ends=TOO_LARGE,
    ),
    Way(
        name="metadata twice",
        does="names its resource and its extensions twice: they are not echoed",
        plain=says(402, lambda scene: _doubled(scene, "resource", "extensions", "error")),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="two accepts",
        does="has the thief in a first list of ways to pay, and the payee in a second",
        plain=says(402, lambda scene: _doubled(scene, "accepts", value=json.dumps([entry(scene, payTo=its("thief"))]))),
        ends=MALFORMED,
    ),
    Way(
        name="two fee payers in one extra",
        does="names our own wallet as fee payer, and then the facilitator",
        plain=says(402, lambda scene: _doubled(scene, "feePayer", value=json.dumps(scene.address("owner")))),
        ends=MALFORMED,
    ),
    Way(
        name="two memos in one extra of v1",
        does="fixes the memo twice, where nothing is echoed",
        plain=says(402, [JSON], _two_memos),
        ends=MALFORMED,
    ),
    Way(
        name="two headers and a body",
        does="sends two headers that differ, and an offer in the body: that one is read",
        plain=says(402, _two_headers, lambda scene: json.dumps(offer(scene, entry(scene, 1), version=1)).encode()),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="Latin-1 that hides a quote",
        does="ends a text with an overlong quote, and a second price behind it for parsers that fall for it",
        plain=says(402, [JSON], _overlong),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="keys that only look right",
        does="has Cyrillic, full-width and combining twins of the keys that count, with the thief in them",
        plain=asks(**_LOOK_ALIKES),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="nested deep where nobody looks",
        does="nests what is not needed in its header as deep as parsers go",
        plain=says(402, lambda scene: _in_header(_deep_note(scene, 400))),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="200 with an offer",
        does="delivers, and asks for money beside it",
        plain=says(200, lambda scene: _in_header(json.dumps(offer(scene, entry(scene))).encode()), b"free"),
        ends=(FREE,),
    ),
    Way(
        name="offer in a 403",
        does="asks for money with another status",
        plain=says(403, lambda scene: _in_header(json.dumps(offer(scene, entry(scene))).encode())),
        ends=(failed("seller_rejected"),),
    ),
]
