"""Payloads are made small before they are sealed, and what was written by any release is read."""

import hashlib
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopay.temporal import compact as compact_module
from autopay.temporal.compact import MAX_BYTES, MIN_BYTES, compact, expand

OFFER = b"""{"kind":"offer","version":2,"network":"DEVNET","currency":"USDC",
"mint":"4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU","amount_atomic":1000,
"pay_to":"Cdw8iXQgZQCoMo3BSuoefjzNBqLdwRnFR8C25gLVJjM2","fee_payer":"D3Si4GoRR1hgnAyF9W5g56tKfepRthFD8NEdWteWDLnC"}"""


@given(st.binary(max_size=2_000))
def test_what_is_made_small_comes_back_as_it_was(text: bytes) -> None:
    plain = b"\x0a" + text  # no serialized payload begins with a zero
    assert expand(compact(plain)) == plain
    assert len(compact(plain)) <= len(plain)


def test_what_payments_exchange_takes_half_of_its_bytes() -> None:
    assert len(compact(OFFER)) < len(OFFER) / 2


def test_what_is_short_or_cannot_be_made_smaller_stays_as_it_is() -> None:
    noise = b"\x0a" + os.urandom(500)
    assert (compact(noise), compact(OFFER[: MIN_BYTES - 1])) == (noise, OFFER[: MIN_BYTES - 1])


def test_what_a_release_before_has_sealed_is_read_as_it_is() -> None:
    assert expand(OFFER) == OFFER


def damaged(name: str) -> bytes:
    """Bytes that no release wrote."""
    small = compact(OFFER)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -12)
    return {
        "cut": small[:-3],
        "of a newer release": bytes((0, 200)) + small[2:],
        "only the mark": b"\0",
        "no deflate": b"\0\0" + b"\xff" * 20,
        "a bomb": b"\0\0" + bomb.compress(bytes(2 * MAX_BYTES)) + bomb.flush(),
    }[name]


@pytest.mark.parametrize("name", ["cut", "of a newer release", "only the mark", "no deflate", "a bomb"])
def test_what_is_damaged_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"release|cut|Error"):
        expand(damaged(name))


def test_a_released_dictionary_never_changes() -> None:
    """Every history that was written with it is read with it: change nothing, add another."""
    known = [hashlib.sha256(each).hexdigest()[:16] for each in compact_module._DICTIONARIES]
    assert known == ["7262c1f5514588d7"]
