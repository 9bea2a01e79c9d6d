"""The payload codec: what is sealed opens with the same keyring only, and nothing else stands in its way."""

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from autopay.adapters.vault import Keyring, Vault
from autopay.domain.request import RequestSpec
from autopay.temporal.codec import ENCODING, KEY_ID, PayloadUnreadable, SealedPayloads, data_converter

KEYRING = Keyring.generate()
CODEC = SealedPayloads(KEYRING)
CLEAR = Payload(metadata={"encoding": b"json/plain"}, data=b'"planted"')


async def test_what_is_sealed_shows_nothing_but_its_length_and_opens_again() -> None:
    (sealed,) = await CODEC.encode([CLEAR])
    assert dict(sealed.metadata) == {"encoding": ENCODING, KEY_ID: b"1"}
    assert b"planted" not in sealed.SerializeToString()
    assert b"json/plain" not in sealed.SerializeToString()
    assert await CODEC.decode([sealed]) == [CLEAR]


async def test_the_same_payload_is_never_sealed_to_the_same_bytes() -> None:
    one, two = await CODEC.encode([CLEAR, CLEAR])
    assert one.data != two.data


async def test_what_was_sent_in_clear_passes_through() -> None:
    assert await CODEC.decode([CLEAR, *await CODEC.encode([CLEAR])]) == [CLEAR, CLEAR]


async def test_an_old_key_still_opens_after_a_newer_one_seals() -> None:
    (old,) = await CODEC.encode([CLEAR])
    rotated = SealedPayloads(KEYRING.with_new_key())
    (new,) = await rotated.encode([CLEAR])
    assert (new.metadata[KEY_ID], rotated.is_newest(new), rotated.is_newest(old)) == (b"2", True, False)
    assert await rotated.decode([old, new]) == [CLEAR, CLEAR]
    with pytest.raises(PayloadUnreadable, match="names key version '2'"):
        await CODEC.decode([new])


@pytest.mark.parametrize(
    "change",
    [
        {"data": b""},
        {"data": b"x" * 40},
        {"metadata": {"encoding": ENCODING}},
        {"metadata": {"encoding": ENCODING, KEY_ID: b"0"}},
        {"metadata": {"encoding": ENCODING, KEY_ID: b"\xff"}},
    ],
)
async def test_what_was_changed_is_refused(change: dict[str, object]) -> None:
    (sealed,) = await CODEC.encode([CLEAR])
    values: dict[str, object] = {"metadata": dict(sealed.metadata), "data": sealed.data}
    with pytest.raises(PayloadUnreadable):
        await CODEC.decode([Payload(**(values | change))])  # type: ignore[arg-type]


async def test_a_payload_under_another_version_of_the_same_bytes_is_refused() -> None:
    (sealed,) = await CODEC.encode([CLEAR])
    key = KEYRING.dump().split("1:")[1]
    both = SealedPayloads(Keyring.parse(f"{KEYRING.dump()},2:{key}"))
    sealed.metadata[KEY_ID] = b"2"
    with pytest.raises(PayloadUnreadable):
        await both.decode([sealed])


async def test_neither_opens_what_the_other_sealed() -> None:
    vault = Vault(KEYRING)
    text = vault.seal(b"secret", purpose="temporal-payload", row="1")
    with pytest.raises(PayloadUnreadable):
        await CODEC.decode([Payload(metadata={"encoding": ENCODING, KEY_ID: b"1"}, data=text.encode())])


async def test_models_and_failures_travel_sealed() -> None:
    converter = data_converter(KEYRING)
    spec = RequestSpec(request_id="r", url="https://a.test/x?key=planted")
    payloads = await converter.encode([spec])
    assert b"planted" not in payloads[0].SerializeToString()
    assert await converter.decode(payloads, [RequestSpec]) == [spec]

    failure = Failure()
    await converter.encode_failure(ApplicationError("planted text", "planted detail", type="refused"), failure)
    assert b"planted" not in failure.SerializeToString()
    assert failure.application_failure_info.type == "refused"
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.details) == ("planted text", ("planted detail",))
