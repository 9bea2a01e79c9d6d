"""Runs one transaction on LiteSVM and can take it back.

LiteSVM neither charges priority fees nor refuses rent-paying accounts, and takes no fee for a program that is not
there; this module does. Transactions with address
lookup tables and durable nonces are not supported: the first fail with AddressLookupTableNotFound, the second with
BlockhashNotFound.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from solders.account import Account
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata
from solders.transaction_status import TransactionErrorType, TransactionStatus

from localnet.chain.errors import TransactionError
from localnet.chain.fees import Fee, breaks_rent, fee_of

States = dict[Pubkey, Account | None]

_FEE_ONLY = ("ProgramAccountNotFound", "InvalidProgramForExecution")  # land without running (SIMD-82)


@dataclass(frozen=True)
class ExecutionResult:
    """What a transaction did; `before` and `after` hold every account that its message names, in its order.

    `charged` tells a failure that takes the fee and lands in a block from one that leaves no trace.
    """

    message: Message | MessageV0
    error: TransactionError | None
    charged: bool
    fee: Fee
    before: States
    after: States
    logs: list[str] = field(default_factory=list)
    units: int = 0
    inner: list[list[Any]] = field(default_factory=list)
    returned: tuple[Pubkey, bytes] | None = None

    @cached_property
    def changes(self) -> States:
        """The accounts that differ from before."""
        return {address: after for address, after in self.after.items() if after != self.before[address]}


def execute(svm: LiteSVM, transaction: VersionedTransaction) -> ExecutionResult:
    """Run a transaction, whoever signed it; its changes stay in `svm`."""
    message = transaction.message
    before = _read(svm, message)
    fee = fee_of(message)
    error = _refuse_message(message) or _refuse_payer(before[message.account_keys[0]], fee)
    if error is not None:
        return ExecutionResult(message, error, False, fee, before, before)
    try:
        return _run(svm, transaction, fee, before)
    except BaseException:  # LiteSVM is native code and may panic; nothing of it must stay
        for address, account in before.items():
            if svm.get_account(address) != account:
                _write(svm, address, account)
        raise


def _run(svm: LiteSVM, transaction: VersionedTransaction, fee: Fee, before: States) -> ExecutionResult:
    message, payer = transaction.message, transaction.message.account_keys[0]
    _charge(svm, payer, fee.priority)
    payer_held = svm.get_balance(payer)
    result = svm.send_transaction(transaction)
    outcome = _outcome(message, fee, before, _read(svm, message), result)
    if outcome.error is None:
        return _enforce_rent(svm, outcome)
    if svm.get_balance(payer) == payer_held:
        undo(svm, outcome)
        if outcome.error in _FEE_ONLY:
            return _fail_for_fee(svm, outcome, outcome.error)
        return ExecutionResult(message, outcome.error, False, fee, before, before, outcome.logs, outcome.units)
    return outcome


def undo(svm: LiteSVM, outcome: ExecutionResult) -> None:
    """Put every changed account back."""
    for address in outcome.changes:
        _write(svm, address, outcome.before[address])


def _refuse_message(message: Message | MessageV0) -> TransactionError | None:
    keys = message.account_keys
    if isinstance(message, MessageV0) and message.address_table_lookups:
        return "AddressLookupTableNotFound"
    if len(set(keys)) != len(keys):
        return "AccountLoadedTwice"
    return None


def _refuse_payer(payer: Account | None, fee: Fee) -> TransactionError | None:
    """The checks of a fee payer, before anything runs or is charged."""
    if payer is None:
        return "AccountNotFound"
    if payer.owner != Pubkey.default() or payer.data:
        return "InvalidAccountForFee"
    left = payer.lamports - fee.total
    if left < 0:
        return "InsufficientFundsForFee"
    if left and breaks_rent(payer, Account(left, payer.data, payer.owner)):
        return {"InsufficientFundsForRent": {"account_index": 0}}
    return None


def _outcome(
    message: Message | MessageV0,
    fee: Fee,
    before: States,
    after: States,
    result: TransactionMetadata | FailedTransactionMetadata,
) -> ExecutionResult:
    failed = isinstance(result, FailedTransactionMetadata)
    meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
    returned = meta.return_data()  # type: ignore[attr-defined]  # the stub calls it transaction_return_data
    return ExecutionResult(
        message=message,
        error=error_json(result.err()) if isinstance(result, FailedTransactionMetadata) else None,
        charged=True,
        fee=fee,
        before=before,
        after=after,
        logs=meta.logs(),
        units=meta.compute_units_consumed(),
        inner=[] if failed else meta.inner_instructions(),
        returned=(returned.program_id, returned.data) if returned.data else None,
    )


def _enforce_rent(svm: LiteSVM, outcome: ExecutionResult) -> ExecutionResult:
    """Turn a success that leaves an account with too little into a failure that costs the fee."""
    for index, address in enumerate(outcome.message.account_keys):
        if address in outcome.changes and breaks_rent(outcome.before[address], outcome.after[address]):
            undo(svm, outcome)
            return _fail_for_fee(svm, outcome, {"InsufficientFundsForRent": {"account_index": index}})
    return outcome


def _fail_for_fee(svm: LiteSVM, undone: ExecutionResult, error: TransactionError) -> ExecutionResult:
    message, before = undone.message, undone.before
    _charge(svm, message.account_keys[0], undone.fee.total)
    return ExecutionResult(message, error, True, undone.fee, before, _read(svm, message), undone.logs, undone.units)


def _charge(svm: LiteSVM, payer: Pubkey, lamports: int) -> None:
    account = svm.get_account(payer)
    assert account is not None
    if lamports:
        rest = account.lamports - lamports
        svm.set_account(payer, Account(rest, account.data, account.owner, account.executable))


def _read(svm: LiteSVM, message: Message | MessageV0) -> States:
    return {address: svm.get_account(address) for address in message.account_keys}


def _write(svm: LiteSVM, address: Pubkey, account: Account | None) -> None:
    # LiteSVM deletes an account that is written without lamports.
    svm.set_account(address, account or Account(0, b"", Pubkey.default()))


def error_json(error: TransactionErrorType) -> TransactionError:
    """A transaction error as JSON-RPC shows it, such as `{"InstructionError": [0, {"Custom": 1}]}`."""
    status = TransactionStatus(slot=0, confirmations=None, status=None, err=error, confirmation_status=None)
    content: TransactionError = json.loads(status.to_json())["err"]
    return content
