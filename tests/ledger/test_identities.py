"""Numbers that others compute again or sort by."""

import hashlib

import pytest

from autopay.domain.network import Network
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.uuid7 import uuid7

SETTLEMENT = Settlement(signature="sig", slot=7, payer="payer", destination="payee", mint="mint", amount_atomic=1000)


def test_the_verification_hash_is_the_documented_one() -> None:
    canonical = (
        b'{"amount":1000,"mint":"mint","network":"DEVNET","payee":"payee","payer":"payer","signature":"sig","slot":7}'
    )
    assert verification_hash(Network.DEVNET, SETTLEMENT) == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize(
    "change",
    [{"signature": "x"}, {"slot": 8}, {"payer": "x"}, {"destination": "x"}, {"mint": "x"}, {"amount_atomic": 1001}],
)
def test_every_fact_counts_in_the_verification_hash(change: dict[str, object]) -> None:
    changed = verification_hash(Network.DEVNET, SETTLEMENT.model_copy(update=change))
    assert changed != verification_hash(Network.DEVNET, SETTLEMENT)
    assert changed != verification_hash(Network.MAINNET, SETTLEMENT.model_copy(update=change))


def test_ids_are_version_7_and_sort_by_their_milliseconds() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert {(value.version, value.int >> 62 & 3) for value in ids} == {(7, 2)}
    assert [value.int >> 80 for value in ids] == sorted(value.int >> 80 for value in ids)
    assert len(set(ids)) == 1000
