"""Whether a keyring belongs to a ledger: by the check values of its keys, which tell nothing of the keys."""

import pytest

from autopay.adapters.vault import Keyring, why_refused

OURS = Keyring.generate()
ROTATED = OURS.with_new_key()
ROOT, FIRST, SECOND = ROTATED.dump().split(",")
WITHOUT_THE_OLD_KEY = Keyring.parse(f"{ROOT},{SECOND}")
FOREIGN = Keyring.generate()
OTHER_VERSIONS = Keyring.parse(f"7:{FOREIGN.dump().split(':')[-1]}")
OTHER_ROOT = Keyring.parse(f"{FOREIGN.dump().split(',')[0]},{FIRST}")


@pytest.mark.parametrize(
    ("known", "keyring", "says"),
    [
        pytest.param(None, FOREIGN, None, id="a new ledger takes any"),
        pytest.param(OURS, OURS, None, id="the same"),
        pytest.param(OURS, ROTATED, None, id="one key more"),
        pytest.param(ROTATED, ROTATED, None, id="the rotated one"),
        pytest.param(ROTATED, WITHOUT_THE_OLD_KEY, None, id="an old key dropped"),
        pytest.param(ROTATED, OURS, "lacks key 2", id="an older copy"),
        pytest.param(OURS, FOREIGN, "another keyring", id="another"),
        pytest.param(OURS, OTHER_VERSIONS, "lacks key 0 and 1", id="another, of other versions"),
        pytest.param(OURS, OTHER_ROOT, "its key 0 differs", id="another root"),
        pytest.param(ROTATED, FOREIGN.with_new_key(), "0 and 1 and 2 differs", id="another, rotated as often"),
    ],
)
def test_a_keyring_belongs_to_a_ledger_or_is_refused(known: Keyring | None, keyring: Keyring, says: str | None) -> None:
    refused = why_refused(known.check_values() if known else {}, keyring.check_values())
    assert (refused is None) == (says is None)
    if refused is not None and says is not None:
        assert says in refused
        assert "AUTOPAY_KEYRING" in refused


def test_a_check_value_tells_nothing_of_its_key() -> None:
    values = ROTATED.check_values()
    assert set(values) == {0, 1, 2}
    assert len(set(values.values())) == 3
    assert {len(value) for value in values.values()} == {32}
    assert values == Keyring.parse(ROTATED.dump()).check_values()
    for value in values.values():
        assert bytes.fromhex(value) not in ROTATED.derive("x") + ROTATED.subkey(1, "x")
