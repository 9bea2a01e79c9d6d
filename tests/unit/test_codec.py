"""The payload codec and converter: what is sealed opens with the same keyring only; what cannot be read has a name."""

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from autopay.adapters.vault import Keyring, Vault
from autopay.domain.request import RequestSpec
from autopay.domain.unreadable import Unreadable
from autopay.temporal.codec import ENCODING, KEY_ID, SealedPayloads, why_marked
from autopay.temporal.converter import PayloadUnreadable, data_converter

KEYRING = Keyring.generate()
CODEC = SealedPayloads(KEYRING)
GONE = "is not in this keyring or did not encrypt it; check AUTOPAY_KEYRING"
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
    opened, gone = await CODEC.decode([old, new])
    assert (opened, why_marked(opened), why_marked(gone)) == (CLEAR, None, f"key version '2' {GONE}")


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
async def test_what_was_changed_is_marked(change: dict[str, object]) -> None:
    (sealed,) = await CODEC.encode([CLEAR])
    values: dict[str, object] = {"metadata": dict(sealed.metadata), "data": sealed.data}
    (changed,) = await CODEC.decode([Payload(**(values | change))])  # type: ignore[arg-type]
    assert why_marked(changed) is not None
    assert changed.data == b""


async def test_a_payload_under_another_version_of_the_same_bytes_is_marked() -> None:
    (sealed,) = await CODEC.encode([CLEAR])
    key = KEYRING.dump().split("1:")[1]
    both = SealedPayloads(Keyring.parse(f"{KEYRING.dump()},2:{key}"))
    sealed.metadata[KEY_ID] = b"2"
    (marked,) = await both.decode([sealed])
    assert why_marked(marked) is not None


async def test_neither_opens_what_the_other_sealed() -> None:
    vault = Vault(KEYRING)
    text = vault.seal(b"secret", purpose="temporal-payload", row="1")
    (marked,) = await CODEC.decode([Payload(metadata={"encoding": ENCODING, KEY_ID: b"1"}, data=text.encode())])
    assert why_marked(marked) is not None


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


FOREIGN = SealedPayloads(Keyring.generate())
STORAGE = b"temporal.api.sdk.v1.ExternalStorageReference"

UNREADABLE = [
    pytest.param(Payload(metadata={"encoding": b"json/plain"}, data=b"{"), "Invalid JSON", id="damaged JSON"),
    pytest.param(Payload(metadata={"encoding": b"json/plain"}, data=b'{"url": 1}'), "request_id: ", id="another shape"),
    pytest.param(Payload(metadata={"encoding": b"json/plain"}, data=b"\xff\xfe"), "Invalid JSON", id="no UTF-8"),
    pytest.param(Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 9_000), "Invalid JSON", id="no end"),
    pytest.param(Payload(metadata={"encoding": b"binary/null"}), "RequestSpec", id="nothing"),
    pytest.param(Payload(metadata={"encoding": b"binary/null"}, data=b"x"), "damaged", id="nothing, and data"),
    pytest.param(Payload(metadata={"encoding": b"binary/plain"}, data=b"{}"), "RequestSpec", id="bytes"),
    pytest.param(Payload(metadata={"encoding": b"json/protobuf"}, data=b"{}"), "damaged", id="no message type"),
    pytest.param(Payload(metadata={"encoding": b"\xff"}, data=b"{}"), "damaged", id="an encoding that is no text"),
    pytest.param(Payload(metadata={"encoding": b"zip"}, data=b"{}"), "Unknown payload encoding", id="another encoding"),
    pytest.param(Payload(data=b"{}"), "Unknown payload encoding", id="no encoding"),
    pytest.param(
        Payload(metadata={"encoding": b"json/external-storage-reference"}, data=b"{}"), "storage", id="stored elsewhere"
    ),
    pytest.param(
        Payload(metadata={"encoding": b"json/protobuf", "messageType": STORAGE}, data=b"{}"),
        "storage",
        id="stored elsewhere, as a message",
    ),
    pytest.param(
        Payload(metadata={"encoding": b"x", "__temporal_external_storage_reference": b"true"}),
        "storage",
        id="marked as stored elsewhere",
    ),
]


@pytest.mark.parametrize(("payload", "says"), UNREADABLE)
async def test_what_cannot_be_read_is_refused_by_name_or_given_to_those_who_allow_it(
    payload: Payload, says: str
) -> None:
    converter = data_converter(KEYRING)
    allows: Any = RequestSpec | Unreadable
    with pytest.raises(PayloadUnreadable, match=says):
        await converter.decode([payload], [RequestSpec])
    (given,) = await converter.decode([payload], [allows])
    assert isinstance(given, Unreadable)
    assert says in given.why


async def test_another_keyrings_payload_is_unreadable_and_the_others_beside_it_are_read() -> None:
    converter, allows = data_converter(KEYRING), [str, str | Unreadable]
    sealed = [*await converter.encode(["ours"]), *await FOREIGN.encode([CLEAR])]
    ours, foreign = await converter.decode(sealed, allows)  # type: ignore[arg-type]
    assert (ours, foreign) == ("ours", Unreadable(f"key version '1' {GONE}"))


async def test_nobody_can_send_what_stands_for_an_unreadable_payload() -> None:
    allows: Any = str | None | Unreadable
    sent = Payload(metadata={"encoding": b"json/plain"}, data=b'{"why": "I say so"}')
    (given,) = await data_converter(KEYRING).decode([sent], [allows])
    assert isinstance(given, Unreadable)
    assert "I say so" not in given.why


async def test_what_is_said_of_an_unreadable_payload_quotes_nothing_of_it() -> None:
    sent = Payload(metadata={"encoding": b"json/plain"}, data=b'{"request_id": "secret secret", "url": "secret"}')
    with pytest.raises(PayloadUnreadable) as refused:
        await data_converter(KEYRING).decode([sent], [RequestSpec])
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
