"""What a wallet may add to what its owner was asked to sign; whatever else it changes is refused before it is sent."""

from base64 import b64encode
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from solders.compute_budget import request_heap_frame, set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageAddressTableLookup, MessageHeader, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)
from solders.token import ID as TOKEN
from solders.transaction import VersionedTransaction
from spl.token.instructions import approve_checked, set_authority
from spl.token.models import ApproveCheckedParams, AuthorityType, SetAuthorityParams

from autopay.adapters.solana.owner.grant import grant_instructions
from autopay.adapters.solana.owner.owner_transaction import OwnerSignatureWrong, with_transaction
from autopay.adapters.solana.owner.wallet_changes import (
    FIRST_ASSERTION,
    LAST_ASSERTION,
    LIGHTHOUSE,
    MOST_PRIORITY_LAMPORTS,
    MOST_UNITS,
    why_not_the_same,
)
from autopay.domain.session import OwnerTransaction
from localnet.chain.genesis import USDC_MINT

OWNER, THIEF, DELEGATE = (Keypair.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ME, BLOCKHASH = OWNER.pubkey(), Hash(bytes([7]) * 32)
ACCOUNT, OURS = grant_instructions(
    ME, DELEGATE.pubkey(), USDC_MINT, TOKEN, size=165, rent=2_039_280, amount=5_000_000, session_id=UUID(int=9)
)
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
OLD_LIGHTHOUSE = Pubkey.from_string("L1TEVtgA75k273wWz1s6XMmDhQY5i3MwcvKb4VbZzfK")
LIMIT, PRICE = set_compute_unit_limit(80_000), set_compute_unit_price(50_000)


def compiled(steps: Sequence[Instruction], payer: Pubkey = ME, blockhash: Hash = BLOCKHASH) -> MessageV0:
    return MessageV0.try_compile(payer, list(steps), [], blockhash)


ASKED = compiled(OURS)
TO_SIGN = OwnerTransaction(
    does="grant", message=b64encode(to_bytes_versioned(ASKED)).decode(), last_valid_block_height=1
)


def guard(first: int = 5, *accounts: Pubkey, program: Pubkey = LIGHTHOUSE, **rights: bool) -> Instruction:
    """A Lighthouse instruction; 5 asserts facts of an account, as Phantom does of those that a transaction writes."""
    metas = [AccountMeta(each, rights.get("signs", False), rights.get("writable", False)) for each in accounts or (ME,)]
    return Instruction(program, bytes([first, 0, 0]) + (2_039_280).to_bytes(8, "little") + b"\x04", metas)


def approval(delegate: Pubkey, amount: int) -> Instruction:
    return approve_checked(
        ApproveCheckedParams(
            program_id=TOKEN, source=ACCOUNT, mint=USDC_MINT, delegate=delegate, owner=ME, amount=amount, decimals=6
        )
    )


def rebuilt(message: MessageV0, **parts: object) -> MessageV0:
    """The message with other parts, without a compiler that puts them in order."""
    names = ("header", "account_keys", "recent_blockhash", "instructions", "address_table_lookups")
    return MessageV0(*(parts.get(name, getattr(message, name)) for name in names))  # type: ignore[arg-type]


def wire(message: MessageV0 | Message, *signatures: Signature) -> str:
    """What a wallet hands back: the message, signed by the owner unless other signatures are given."""
    raw = to_bytes_versioned(message) if isinstance(message, MessageV0) else bytes(message)
    given = list(signatures) or [OWNER.sign_message(raw)]
    return b64encode(bytes(VersionedTransaction.populate(message, given))).decode()


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(OURS, id="nothing added"),
        pytest.param([*OURS, guard()], id="Phantom: one assertion at the end"),
        pytest.param([LIMIT, PRICE, *OURS, guard(5, ME), guard(9, ACCOUNT)], id="a budget and two assertions"),
        pytest.param([guard(), OURS[0], guard(9, ACCOUNT), *OURS[1:], LIMIT], id="assertions between"),
        pytest.param([*OURS, guard(5, Pubkey.new_unique())], id="an assertion about another account"),
        pytest.param([*OURS, guard(15)], id="an assertion about the clock"),
        pytest.param([*OURS, guard(5, ME, signs=True, writable=True)], id="rights that the owner has anyway"),
        pytest.param([PRICE, *OURS], id="a price without a limit"),
        pytest.param([set_compute_unit_price(3_571_428), *OURS], id="the most that a price without a limit may be"),
        pytest.param([LIMIT, set_compute_unit_price(62_500_000), *OURS], id="the highest fee"),
    ],
)
def test_a_wallet_may_add_assertions_and_a_compute_budget(steps: list[Instruction]) -> None:
    message = compiled(steps)
    assert why_not_the_same(ASKED, message) is None
    signed = with_transaction(TO_SIGN, str(ME), wire(message))
    assert signed.message == message


def test_only_assertions_of_lighthouse_are_allowed() -> None:
    allowed = [first for first in range(256) if why_not_the_same(ASKED, compiled([*OURS, guard(first)])) is None]
    assert allowed == list(range(FIRST_ASSERTION, LAST_ASSERTION + 1))


BORROWED = MessageAddressTableLookup(Pubkey.new_unique(), bytes([0]), b"")


READ = ASKED.header.num_readonly_unsigned_accounts


@pytest.mark.parametrize(
    ("message", "says"),
    [
        pytest.param(
            compiled([*OURS, transfer(TransferParams(from_pubkey=ME, to_pubkey=THIEF.pubkey(), lamports=1))]),
            "added or changed instructions (of 11111111111111111111111111111111)",
            id="a transfer is added",
        ),
        pytest.param(compiled([*OURS, approval(THIEF.pubkey(), 1)]), "added", id="another key is approved afterwards"),
        pytest.param(compiled([*OURS, OURS[3]]), "added", id="the approval twice"),
        pytest.param(compiled([*OURS[:3], approval(THIEF.pubkey(), 5_000_000)]), "changed", id="another key"),
        pytest.param(compiled([*OURS[:3], approval(DELEGATE.pubkey(), 2**64 - 1)]), "changed", id="a larger allowance"),
        pytest.param(compiled([*OURS[:2], OURS[3], OURS[2]]), "order", id="another order"),
        pytest.param(compiled(OURS[:3]), "left instructions out", id="no approval"),
        pytest.param(compiled([]), "left instructions out", id="nothing at all"),
        pytest.param(compiled([*OURS, Instruction(MEMO, b"hello", [])]), "added", id="a memo"),
        pytest.param(compiled([*OURS, guard(program=OLD_LIGHTHOUSE)]), "added", id="an older Lighthouse"),
        pytest.param(
            compiled(
                [
                    *OURS,
                    set_authority(
                        SetAuthorityParams(
                            program_id=TOKEN,
                            account=ACCOUNT,
                            authority=AuthorityType.CLOSE_ACCOUNT,
                            current_authority=ME,
                            new_authority=THIEF.pubkey(),
                        )
                    ),
                ]
            ),
            "added",
            id="another may close the account",
        ),
        pytest.param(
            compiled([*OURS, guard(0, ME, signs=True, writable=True)]), "no assertion", id="memory is written"
        ),
        pytest.param(compiled([*OURS, Instruction(LIGHTHOUSE, b"", [])]), "no assertion", id="an empty assertion"),
        pytest.param(compiled([*OURS, guard(5, USDC_MINT, writable=True)]), "may do with", id="the mint is writable"),
        pytest.param(compiled([*OURS, guard(5, DELEGATE.pubkey(), signs=True)]), "who signs", id="the key signs"),
        pytest.param(compiled([*OURS, guard(5, THIEF.pubkey(), signs=True)]), "who signs", id="one more signer"),
        pytest.param(
            compiled([*OURS, guard(5, THIEF.pubkey(), writable=True)]), "only reads", id="one more writable account"
        ),
        pytest.param(compiled(OURS, payer=THIEF.pubkey()), "who pays", id="another fee payer"),
        pytest.param(compiled(OURS, blockhash=Hash(bytes(32))), "another blockhash", id="another blockhash"),
        pytest.param(
            compiled(
                [
                    advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=THIEF.pubkey(), authorized_pubkey=ME)),
                    *OURS,
                ]
            ),
            "added",
            id="a durable nonce",
        ),
        pytest.param(compiled([LIMIT, LIMIT, *OURS]), "compute budget", id="two limits"),
        pytest.param(compiled([request_heap_frame(64 * 1024), *OURS]), "compute budget", id="a heap"),
        pytest.param(
            compiled([Instruction(PRICE.program_id, bytes(PRICE.data) + b"\0", []), *OURS]),
            "compute budget",
            id="a longer price",
        ),
        pytest.param(compiled([Instruction(PRICE.program_id, b"", []), *OURS]), "compute budget", id="an empty budget"),
        pytest.param(
            compiled([Instruction(LIMIT.program_id, bytes(LIMIT.data), [AccountMeta(ME, True, True)]), *OURS]),
            "compute budget",
            id="a budget with accounts",
        ),
        pytest.param(compiled([set_compute_unit_price(3_571_429), *OURS]), "priority fee", id="a fee without a limit"),
        pytest.param(
            compiled([set_compute_unit_limit(2**32 - 1), set_compute_unit_price(2**64 - 1), *OURS]),
            "priority fee",
            id="the highest numbers",
        ),
        pytest.param(rebuilt(ASKED, address_table_lookups=[BORROWED]), "lookup table", id="a lookup table"),
        pytest.param(
            rebuilt(ASKED, account_keys=[*ASKED.account_keys, THIEF.pubkey()], header=MessageHeader(1, 0, READ + 1)),
            "only reads",
            id="an idle account",
        ),
        pytest.param(
            rebuilt(ASKED, account_keys=[*ASKED.account_keys, THIEF.pubkey()]),
            "may do with",
            id="an idle account by which another becomes writable",
        ),
        pytest.param(
            rebuilt(ASKED, account_keys=[*ASKED.account_keys, ASKED.account_keys[-1]]), "well formed", id="one twice"
        ),
        pytest.param(rebuilt(ASKED, account_keys=ASKED.account_keys[:-1]), "well formed", id="an index too high"),
        pytest.param(rebuilt(ASKED, header=MessageHeader(0, 0, 3)), "header", id="nobody signs"),
        pytest.param(rebuilt(ASKED, header=MessageHeader(1, 1, 3)), "header", id="a payer that is not charged"),
        pytest.param(rebuilt(ASKED, header=MessageHeader(1, 0, 255)), "header", id="more than there are"),
        pytest.param(rebuilt(ASKED, header=MessageHeader(2, 0, 3)), "who signs", id="two signers"),
        pytest.param(rebuilt(ASKED, header=MessageHeader(1, 0, 0)), "may do with", id="everything writable"),
    ],
)
def test_whatever_else_a_wallet_changes_is_refused(message: MessageV0, says: str) -> None:
    assert says in (why_not_the_same(ASKED, message) or "")
    with pytest.raises(OwnerSignatureWrong):
        with_transaction(TO_SIGN, str(ME), wire(message))


def test_the_order_of_the_accounts_is_the_wallets_choice_if_they_keep_their_rights() -> None:
    """As a wallet does that takes a message apart and compiles it again."""
    keys, header = ASKED.account_keys, ASKED.header
    others = len(keys) - header.num_readonly_unsigned_accounts
    order = [0, *reversed(range(1, others)), *reversed(range(others, len(keys)))]
    place = {old: new for new, old in enumerate(order)}
    steps = [
        CompiledInstruction(
            place[each.program_id_index], bytes(each.data), bytes(place[index] for index in each.accounts)
        )
        for each in ASKED.instructions
    ]
    assert (
        why_not_the_same(ASKED, rebuilt(ASKED, account_keys=[keys[old] for old in order], instructions=steps)) is None
    )
    mixed = rebuilt(ASKED, account_keys=[keys[old] for old in order])
    assert why_not_the_same(ASKED, mixed) is not None, "the same indexes now name other accounts"


SIGNATURE = OWNER.sign_message(to_bytes_versioned(ASKED))
GOOD = VersionedTransaction.populate(ASKED, [SIGNATURE])


@pytest.mark.parametrize(
    ("transaction", "says"),
    [
        pytest.param(wire(ASKED, Signature.default()), "not signed yet", id="not signed"),
        pytest.param(wire(ASKED, THIEF.sign_message(to_bytes_versioned(ASKED))), "signature is not", id="by another"),
        pytest.param(wire(ASKED, OWNER.sign_message(b"another")), "signature is not", id="over another message"),
        pytest.param(wire(ASKED, SIGNATURE, SIGNATURE), "alone", id="two signatures"),
        pytest.param(b64encode(bytes(GOOD) + b"\0").decode(), "as a node takes it", id="bytes that follow"),
        pytest.param(b64encode(bytes(1) + bytes(GOOD)[65:]).decode(), "alone", id="no signature"),
        pytest.param(wire(Message.new_with_blockhash(OURS, ME, BLOCKHASH)), "legacy", id="a legacy message"),
        pytest.param(
            wire(compiled([*OURS, *(guard(5, Pubkey.new_unique()) for _ in range(20))])),
            "as a node takes it",
            id="larger than a packet",
        ),
        pytest.param("", "no transaction", id="empty"),
        pytest.param("not base64!", "no transaction", id="no base64"),
        pytest.param("\u00e4", "no transaction", id="no ASCII"),
    ],
)
def test_only_one_signature_of_the_owner_over_well_formed_bytes_is_taken(transaction: str, says: str) -> None:
    with pytest.raises(OwnerSignatureWrong, match=says):
        with_transaction(TO_SIGN, str(ME), transaction)


def test_a_transaction_is_refused_for_a_session_of_another_owner() -> None:
    with pytest.raises(OwnerSignatureWrong, match="alone"):
        with_transaction(TO_SIGN, str(THIEF.pubkey()), wire(ASKED))


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

META = st.builds(
    AccountMeta, st.sampled_from([ME, ACCOUNT, USDC_MINT, THIEF.pubkey(), TOKEN]), st.just(False), st.booleans()
)


@st.composite
def other_steps(draw: st.DrawFn) -> list[Instruction]:
    """Our instructions with one to three changes, none of which is allowed, and with what is allowed in between."""
    steps = list(OURS)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["drop", "repeat", "swap", "data", "account", "program", "add"]))
        place = draw(st.integers(0, max(0, len(steps) - 1)))
        if kind == "add" or not steps:
            program = draw(st.sampled_from([TOKEN, MEMO, OLD_LIGHTHOUSE]))
            metas = draw(st.lists(META, max_size=4))
            steps.insert(place, Instruction(program, draw(st.binary(max_size=12)), metas))
            continue
        step = steps.pop(place)
        data, metas = bytearray(step.data), list(step.accounts)
        if kind == "repeat":
            steps.insert(draw(st.integers(0, len(steps))), step)
        elif kind == "data" and data:
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        elif kind == "account" and metas:
            metas[draw(st.integers(0, len(metas) - 1))] = draw(META)
        program = MEMO if kind == "program" else step.program_id
        if kind != "drop":
            where = draw(st.integers(0, len(steps))) if kind == "swap" else place
            steps.insert(where, Instruction(program, bytes(data), metas))
    assume([(s.program_id, [m.pubkey for m in s.accounts], bytes(s.data)) for s in steps] != OURS_PLAIN)
    for extra in draw(st.lists(st.sampled_from([guard(), guard(9, ACCOUNT)]), max_size=2)):
        steps.insert(draw(st.integers(0, len(steps))), extra)
    return [LIMIT, PRICE, *steps] if draw(st.booleans()) else steps


OURS_PLAIN = [(each.program_id, [meta.pubkey for meta in each.accounts], bytes(each.data)) for each in OURS]


@UNHURRIED
@given(other_steps())
def test_any_other_instructions_are_refused(steps: list[Instruction]) -> None:
    assert why_not_the_same(ASKED, compiled(steps)) is not None


@UNHURRIED
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3, unique_by=lambda p: p[0])
)
def test_a_message_with_other_bytes_is_refused(flips: list[tuple[int, int]]) -> None:
    """Whatever the bytes mean; signed by the owner, as a wallet of theirs would."""
    raw = bytearray(to_bytes_versioned(ASKED))
    for place, change in flips:
        raw[place % len(raw)] ^= change
    assume(bytes(raw) != to_bytes_versioned(ASKED))
    signed = b"\x01" + bytes(OWNER.sign_message(bytes(raw))) + bytes(raw)
    with pytest.raises(OwnerSignatureWrong):
        with_transaction(TO_SIGN, str(ME), b64encode(signed).decode())


@UNHURRIED
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_no_accepted_budget_costs_more_than_its_bound(units: int, price: int) -> None:
    steps = [set_compute_unit_limit(units), set_compute_unit_price(price), *OURS]
    charged = -(-min(units, MOST_UNITS) * price // 1_000_000)
    assert (why_not_the_same(ASKED, compiled(steps)) is None) == (charged <= MOST_PRIORITY_LAMPORTS)
