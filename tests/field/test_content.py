"""Bodies as sellers really send them: none is dropped, whatever its coding, length or end."""

import gzip
import zlib

import pytest

from autopay.adapters.x402.content import Body, decode

DATA = b'{"paid-content": "as it should be"}' * 20
LIMIT = 10_000


def zipped(data: bytes) -> bytes:
    """The same bytes at any time, as they are in names of tests, which all workers of a run must agree on."""
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("codings", "raw"),
    [
        ((), DATA),
        (("gzip",), zipped(DATA)),
        (("x-gzip",), zipped(DATA)),
        (("deflate",), zlib.compress(DATA)),
        (("deflate",), raw_deflate(DATA)),
        (("deflate", "gzip"), zipped(zlib.compress(DATA))),
        (("gzip", "gzip", "gzip"), zipped(zipped(zipped(DATA)))),
    ],
)
def test_what_is_coded_is_decoded(codings: tuple[str, ...], raw: bytes) -> None:
    assert decode(raw, codings, LIMIT, whole=True) == Body(DATA, complete=True)


@pytest.mark.parametrize(
    ("codings", "raw", "left"),
    [
        (("br",), b"\x8b\x07\x80", "br"),
        (("gzip",), DATA, "gzip"),
        (("deflate",), b"\xff\xff\xff", "deflate"),
        (("zstd", "br"), b"(\xb5/\xfd", "zstd, br"),
        (("gzip",) * 4, zipped(DATA), "gzip, gzip, gzip, gzip"),
    ],
)
def test_what_cannot_be_decoded_is_kept_as_it_came_with_the_codings_name(
    codings: tuple[str, ...], raw: bytes, left: str
) -> None:
    assert decode(raw, codings, LIMIT, whole=True) == Body(raw, complete=True, encoding=left)


def test_codings_above_an_unknown_one_are_undone_and_the_rest_is_named() -> None:
    assert decode(zipped(b"\x8b\x07\x80"), ("br", "gzip"), LIMIT, whole=True) == Body(
        b"\x8b\x07\x80", complete=True, encoding="br"
    )


def test_a_few_kilobytes_that_are_gigabytes_end_at_the_bound() -> None:
    bomb = zipped(zipped(b"\0" * 50_000_000))
    assert len(bomb) < LIMIT
    body = decode(bomb, ("gzip", "gzip"), LIMIT, whole=True)
    assert (body.content, body.complete) == (b"\0" * LIMIT, False)


def test_a_coded_body_that_was_cut_is_decoded_as_far_as_it_came() -> None:
    noise = bytes(range(256)) * 30
    body = decode(zipped(noise)[:200], ("gzip",), LIMIT, whole=False)
    assert noise.startswith(body.content)
    assert body.content
    assert (body.complete, body.encoding) == (False, None)


def test_a_coded_body_without_its_end_is_not_complete_even_when_the_connection_ended_well() -> None:
    assert not decode(zipped(DATA)[:-8], ("gzip",), LIMIT, whole=True).complete


def test_no_body_has_no_coding_that_could_not_be_undone() -> None:
    assert decode(b"", ("gzip",), LIMIT, whole=True) == Body(b"", complete=True)
