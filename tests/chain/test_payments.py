"""Payments as the buyer builds them: a delegate signs, somebody else pays the fee, a memo tells them apart."""

from dataclasses import dataclass

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Processed
from solana.rpc.models import TokenAccountOpts
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from solders.transaction_status import (
    EncodedConfirmedTransactionWithStatusMeta,
    InstructionErrorCustom,
    TransactionErrorInstructionError,
    UiTransactionStatusMeta,
)
from spl.token.instructions import approve_checked, initialize_account3
from spl.token.models import ApproveCheckedParams, InitializeAccount3Params

from localnet.chain.genesis import DECIMALS
from tests.chain.wallet import NO_PREFLIGHT, Token, Wallets, build, memo

INSUFFICIENT_FUNDS = InstructionErrorCustom(1)  # of the token program


@dataclass
class Shop:
    """A buyer whose session key may pay, a facilitator who pays fees, and a seller."""

    token: Token
    owner: Keypair
    session: Keypair
    facilitator: Keypair
    source: Pubkey
    destination: Pubkey

    def approve(self, allowance: int) -> Instruction:
        params = ApproveCheckedParams(
            program_id=self.token.program, source=self.source, mint=self.token.mint,
            delegate=self.session.pubkey(), owner=self.owner.pubkey(), amount=allowance, decimals=DECIMALS,
        )  # fmt: skip
        return approve_checked(params)

    def payment(self, amount: int, text: str = "one payment", price: int = 1) -> list[Instruction]:
        pay = self.token.transfer(self.source, self.destination, self.session.pubkey(), amount)
        return [set_compute_unit_limit(40_000), set_compute_unit_price(price), pay, memo(text)]


@pytest.fixture
async def shop(wallets: Wallets, token: Token) -> Shop:
    owner, facilitator, seller = await wallets.rich(), await wallets.rich(), Keypair().pubkey()
    source = await wallets.fund(token, owner.pubkey(), 1_000)
    destination = await wallets.fund(token, seller, 1)
    shop = Shop(token, owner, Keypair(), facilitator, source, destination)
    await wallets.send([shop.approve(300)], owner)
    return shop


async def test_a_delegate_pays_within_its_allowance(rpc: AsyncClient, wallets: Wallets, shop: Shop) -> None:
    blockhash = await wallets.blockhash()
    payment = build(blockhash, shop.payment(200), shop.facilitator, shop.session)
    signature = (await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)).value
    await wallets.wait(signature)
    assert await wallets.balance(shop.source) == 800
    assert await wallets.balance(shop.destination) == 201
    found = (await rpc.get_transaction(signature, "base64", Confirmed, 0)).value
    assert found is not None
    transaction = found.transaction.transaction
    assert isinstance(transaction, VersionedTransaction)
    assert transaction.message == payment.message
    assert transaction.signatures == payment.signatures


async def test_token_balances_before_and_after_are_told(rpc: AsyncClient, wallets: Wallets, shop: Shop) -> None:
    payment = build(await wallets.blockhash(), shop.payment(200), shop.facilitator, shop.session)
    signature = (await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)).value
    await wallets.wait(signature)
    meta = _meta((await rpc.get_transaction(signature, "json", Confirmed, 0)).value)
    keys = payment.message.account_keys
    before = {keys[each.account_index]: each for each in meta.pre_token_balances or []}
    after = {keys[each.account_index]: each for each in meta.post_token_balances or []}
    assert {key: each.ui_token_amount.amount for key, each in before.items()} == {
        shop.source: "1000",
        shop.destination: "1",
    }
    assert after[shop.source].ui_token_amount.amount == "800"
    assert after[shop.destination].ui_token_amount.amount == "201"
    assert after[shop.source].owner == shop.owner.pubkey()
    assert after[shop.source].mint == shop.token.mint
    assert after[shop.source].program_id == shop.token.program


async def test_the_fee_is_5000_a_signature_and_the_priority_fee(rpc: AsyncClient, wallets: Wallets, shop: Shop) -> None:
    payer = shop.facilitator.pubkey()
    had = (await rpc.get_balance(payer, Processed)).value
    payment = build(await wallets.blockhash(), shop.payment(1, price=100_001), shop.facilitator, shop.session)
    signature = (await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)).value
    fee = 2 * 5_000 + 4_001  # 40,000 units at 0.100001 lamports, rounded up
    assert (await rpc.get_balance(payer, Processed)).value == had - fee
    await wallets.wait(signature)
    meta = _meta((await rpc.get_transaction(signature, "json", Confirmed, 0)).value)
    assert (meta.fee, meta.pre_balances[0], meta.post_balances[0]) == (fee, had, had - fee)


async def test_a_delegate_cannot_exceed_its_allowance(rpc: AsyncClient, wallets: Wallets, shop: Shop) -> None:
    payer = shop.facilitator.pubkey()
    had = (await rpc.get_balance(payer, Processed)).value
    payment = build(await wallets.blockhash(), shop.payment(301), shop.facilitator, shop.session)
    signature = (await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)).value
    status = (await rpc.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert status.err == TransactionErrorInstructionError(2, INSUFFICIENT_FUNDS)
    assert (await rpc.get_token_account_balance(shop.source, Processed)).value.amount == "1000"
    assert (await rpc.get_balance(payer, Processed)).value == had - 10_001


async def test_the_allowance_shrinks_with_each_payment(rpc: AsyncClient, wallets: Wallets, shop: Shop) -> None:
    for number in range(3):
        instructions = shop.payment(100, f"payment {number}")
        payment = build(await wallets.blockhash(), instructions, shop.facilitator, shop.session)
        assert not (await rpc.simulate_transaction(payment, commitment=Processed)).value.err
        await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)
    last = build(await wallets.blockhash(), shop.payment(1, "too much"), shop.facilitator, shop.session)
    assert (await rpc.simulate_transaction(last, commitment=Processed)).value.err
    assert (await rpc.get_token_account_balance(shop.source, Processed)).value.amount == "700"


async def test_a_payment_that_only_the_session_signed_can_be_simulated(
    rpc: AsyncClient, wallets: Wallets, shop: Shop
) -> None:
    whole = build(await wallets.blockhash(), shop.payment(10), shop.facilitator, shop.session)
    half = VersionedTransaction.populate(whole.message, [Signature.default(), whole.signatures[1]])
    answer = (await rpc.simulate_transaction(half, commitment=Processed)).value
    assert answer.err is None
    assert (answer.units_consumed or 0) > 1_000
    await rpc.send_raw_transaction(bytes(whole), NO_PREFLIGHT)


async def test_an_agent_has_a_plain_token_account_of_its_owners_wallet(
    rpc: AsyncClient, wallets: Wallets, token: Token
) -> None:
    """Created, funded and approved in one transaction; 165 bytes are enough for both programs."""
    owner, account, session = await wallets.rich(), Keypair(), Keypair().pubkey()
    funded_from = await wallets.fund(token, owner.pubkey(), 1_000)
    address, rent = account.pubkey(), (await rpc.get_minimum_balance_for_rent_exemption(165)).value
    create = create_account(
        CreateAccountParams(
            from_pubkey=owner.pubkey(), to_pubkey=address, lamports=rent, space=165, owner=token.program
        )
    )
    initialize = initialize_account3(
        InitializeAccount3Params(program_id=token.program, account=address, mint=token.mint, owner=owner.pubkey())
    )
    approve = approve_checked(
        ApproveCheckedParams(
            program_id=token.program, source=address, mint=token.mint, delegate=session,
            owner=owner.pubkey(), amount=300, decimals=DECIMALS,
        )
    )  # fmt: skip
    fund = token.transfer(funded_from, address, owner.pubkey(), 400)
    await wallets.send([create, initialize, fund, approve], owner, account)
    assert (await rpc.get_token_account_balance(address, Processed)).value.amount == "400"
    both = (await rpc.get_token_accounts_by_owner(owner.pubkey(), TokenAccountOpts(mint=token.mint), Processed)).value
    assert {each.pubkey for each in both} == {funded_from, address}


async def test_what_a_program_calls_is_listed(rpc: AsyncClient, wallets: Wallets, token: Token) -> None:
    payer = await wallets.rich()
    signature = await wallets.send([token.open(payer.pubkey(), Keypair().pubkey())], payer)
    await wallets.wait(signature)
    meta = _meta((await rpc.get_transaction(signature, "json", Confirmed, 0)).value)
    (called,) = meta.inner_instructions or []
    assert (called.index, len(called.instructions)) == (0, 4)


def _meta(found: EncodedConfirmedTransactionWithStatusMeta | None) -> UiTransactionStatusMeta:
    assert found is not None
    assert found.transaction.meta is not None
    return found.transaction.meta
