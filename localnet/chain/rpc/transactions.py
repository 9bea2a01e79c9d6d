"""Methods that send and simulate transactions.

A simulation and a preflight run on the newest state of the accounts, whatever commitment is asked for; blockhashes are
judged at that commitment and as far as this node has seen. A node passes a transaction on to the newest block at once,
even when it lags itself. What a cluster would drop in silence (a bad signature or an old blockhash behind
`skipPreflight`) is dropped in silence.
"""

from typing import Any

from solders.message import Message, MessageV0
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from localnet.chain.blocks import Block, Commitment
from localnet.chain.errors import (
    INTERNAL_ERROR,
    RpcError,
    TransactionError,
    describe,
    invalid_param,
    preflight_failure,
    signature_failure,
    unhealthy,
)
from localnet.chain.execution import ExecutionResult
from localnet.chain.record import inner_instructions, return_data
from localnet.chain.rpc.account_json import show_account
from localnet.chain.rpc.methods import Methods, Node, in_context
from localnet.chain.rpc.params import U64, Address, Config, SendConfig, SimulateConfig, SimulatedAccounts
from localnet.chain.rpc.slots import HEALTHY_LAG
from localnet.chain.rpc.wire import decode_transaction

METHODS = Methods()


@METHODS.method("sendTransaction")
def send_transaction(node: Node, wire: str, config: SendConfig = SendConfig()) -> str:  # noqa: B008 (frozen)
    """Send a signed transaction; the answer, its first signature, does not say that it landed."""
    transaction = decode_transaction(wire, config.encoding)
    commitment = Commitment.PROCESSED if config.skip_preflight else config.preflight_commitment
    block = node.block(commitment, config.min_context_slot)
    signature = str(transaction.signatures[0])
    if not config.skip_preflight:
        _check_before_sending(node, transaction, block)
    elif not _is_signed(transaction):
        return signature
    if node.bank.refusal(transaction) is not None:
        return signature
    outcome = node.bank.process(transaction, must_succeed=not config.skip_preflight)
    if outcome.error is not None and not config.skip_preflight:
        raise preflight_failure(outcome.error, _simulation(outcome.error, outcome))
    return signature


@METHODS.method("simulateTransaction")
def simulate_transaction(
    node: Node,
    wire: str,
    config: SimulateConfig = SimulateConfig(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """What a transaction would do now; signatures matter only with `sigVerify`."""
    if config.sig_verify and config.replace_recent_blockhash:
        raise invalid_param("sigVerify may not be used with replaceRecentBlockhash")
    transaction = decode_transaction(wire, config.encoding)
    block = node.block(config.commitment, config.min_context_slot)
    replacement = None
    if config.replace_recent_blockhash:
        transaction = _with_blockhash(transaction, block)
        replacement = {"blockhash": str(block.blockhash), "lastValidBlockHeight": block.last_valid_height}
    if config.sig_verify and not _is_signed(transaction):
        raise signature_failure()
    _check_wanted(transaction, config.accounts)
    error = _refusal_at(node, transaction, block)
    outcome = node.bank.try_out(transaction) if error is None else None
    value = _simulation(error if outcome is None else outcome.error, outcome)
    if config.accounts is not None:
        value["accounts"] = _show_wanted(node, outcome, config.accounts)
    if config.inner_instructions and outcome is not None:
        value["innerInstructions"] = inner_instructions(outcome)
    if replacement is not None:
        value["replacementBlockhash"] = replacement
    return in_context(block, value)


@METHODS.method("requestAirdrop")
def request_airdrop(node: Node, recipient: Address, lamports: U64, _config: Config | None = None) -> str:
    """SOL from the faucet, by a transaction like any other."""
    transaction, outcome = node.bank.airdrop(recipient, lamports)
    if outcome.error is not None:
        raise RpcError(INTERNAL_ERROR, f"airdrop request failed: {describe(outcome.error)}")
    return str(transaction.signatures[0])


def _check_before_sending(node: Node, transaction: VersionedTransaction, block: Block) -> None:
    if not _is_signed(transaction):
        raise signature_failure()
    lag = node.weather.now.lag_slots
    if lag > HEALTHY_LAG:
        raise unhealthy(lag)
    error = _refusal_at(node, transaction, block)
    if error is not None:
        raise preflight_failure(error, _simulation(error, None))


def _refusal_at(node: Node, transaction: VersionedTransaction, block: Block) -> TransactionError | None:
    """Why a transaction could not run in a block that this node knows; a duplicate is noticed in the newest."""
    if not node.view.accepts(transaction.message.recent_blockhash, block):
        return "BlockhashNotFound"
    return "AlreadyProcessed" if node.bank.has_landed(transaction) else None


def _is_signed(transaction: VersionedTransaction) -> bool:
    required = transaction.message.header.num_required_signatures
    return len(transaction.signatures) == required and all(transaction.verify_with_results())


def _with_blockhash(transaction: VersionedTransaction, block: Block) -> VersionedTransaction:
    old = transaction.message
    message: Message | MessageV0
    if isinstance(old, MessageV0):
        message = MessageV0(old.header, old.account_keys, block.blockhash, old.instructions, old.address_table_lookups)
    else:
        header = old.header
        message = Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            old.account_keys,
            block.blockhash,
            old.instructions,
        )
    return VersionedTransaction.populate(message, [Signature.default()] * len(transaction.signatures))


def _simulation(error: TransactionError | None, outcome: ExecutionResult | None) -> dict[str, Any]:
    return {
        "err": error,
        "logs": outcome.logs if outcome else [],
        "accounts": None,
        "unitsConsumed": outcome.units if outcome else 0,
        "returnData": return_data(outcome) if outcome else None,
        "innerInstructions": None,
    }


def _check_wanted(transaction: VersionedTransaction, wanted: SimulatedAccounts | None) -> None:
    if wanted is None:
        return
    if wanted.encoding == "base58":
        raise invalid_param("base58 encoding not supported")
    count = len(transaction.message.account_keys)
    if len(wanted.addresses) > count:
        raise invalid_param(f"Too many accounts provided; max {count}")


def _show_wanted(node: Node, outcome: ExecutionResult | None, wanted: SimulatedAccounts) -> list[dict[str, Any] | None]:
    if outcome is None or outcome.error is not None:
        return [None] * len(wanted.addresses)
    tip, after = node.bank.window.tip.slot, outcome.after

    def read(address: Any) -> Any:
        return after[address] if address in after else node.bank.account(address, tip)

    return [show_account(read(address), wanted.encoding, read) for address in wanted.addresses]
