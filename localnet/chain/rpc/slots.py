"""Methods about the node and about time: slots, blocks, blockhashes, fees."""

from typing import Any

from solders.message import from_bytes_versioned

from localnet.chain.blocks import BLOCKHASH_LIFETIME, SLOTS_PER_EPOCH
from localnet.chain.errors import invalid_param, unhealthy
from localnet.chain.fees import fee_of, rent_exempt_minimum
from localnet.chain.genesis import GENESIS_HASH
from localnet.chain.rpc.methods import API_VERSION, Methods, Node, in_context
from localnet.chain.rpc.params import U64, Address, BlockHash, Config, ReadConfig
from localnet.chain.rpc.wire import decode_base64

METHODS = Methods()
HEALTHY_LAG = 128  # slots; Agave's --health-check-slot-distance
_FEATURE_SET = 2_142_755_730
_DEFAULT = ReadConfig()


@METHODS.method("getHealth")
def get_health(node: Node) -> str:
    """ "ok", or error -32005 when the node lags."""
    lag = node.weather.now.lag_slots
    if lag > HEALTHY_LAG:
        raise unhealthy(lag)
    return "ok"


@METHODS.method("getVersion")
def get_version(_node: Node) -> dict[str, Any]:
    """The Agave release whose answers these resemble."""
    return {"solana-core": API_VERSION, "feature-set": _FEATURE_SET}


@METHODS.method("getGenesisHash")
def get_genesis_hash(_node: Node) -> str:
    """Devnet's."""
    return GENESIS_HASH


@METHODS.method("getSlot")
def get_slot(node: Node, config: ReadConfig = _DEFAULT) -> int:
    """The newest slot with a block at a commitment."""
    return node.block(config.commitment, config.min_context_slot).slot


@METHODS.method("getBlockHeight")
def get_block_height(node: Node, config: ReadConfig = _DEFAULT) -> int:
    """The newest block's height at a commitment."""
    return node.block(config.commitment, config.min_context_slot).height


@METHODS.method("getEpochInfo")
def get_epoch_info(node: Node, config: ReadConfig = _DEFAULT) -> dict[str, int]:
    """Where in its epoch the chain is."""
    block = node.block(config.commitment, config.min_context_slot)
    return {
        "absoluteSlot": block.slot,
        "blockHeight": block.height,
        "epoch": block.slot // SLOTS_PER_EPOCH,
        "slotIndex": block.slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": node.bank.store.transaction_count(block.slot),
    }


@METHODS.method("getTransactionCount")
def get_transaction_count(node: Node, config: ReadConfig = _DEFAULT) -> int:
    """How many transactions landed so far."""
    return node.bank.store.transaction_count(node.block(config.commitment, config.min_context_slot).slot)


@METHODS.method("getLatestBlockhash")
def get_latest_blockhash(node: Node, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """The newest blockhash at a commitment and the last height at which it is good."""
    block = node.block(config.commitment, config.min_context_slot)
    value = {"blockhash": str(block.blockhash), "lastValidBlockHeight": block.last_valid_height}
    return in_context(block, value)


@METHODS.method("isBlockhashValid")
def is_blockhash_valid(node: Node, blockhash: BlockHash, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """Whether a transaction with this hash could land; false for a hash that this node has not seen yet."""
    block = node.block(config.commitment, config.min_context_slot)
    return in_context(block, node.view.accepts(blockhash, block))


@METHODS.method("getBlockTime")
def get_block_time(node: Node, slot: U64) -> int | None:
    """A block's Unix time; null for a slot without a block or one that is too old."""
    block = node.bank.window.at(slot)
    return block.time if block.slot == slot and slot <= node.view.tip.slot else None


@METHODS.method("getFirstAvailableBlock")
def get_first_available_block(_node: Node) -> int:
    """0: this node keeps every transaction since genesis."""
    return 0


@METHODS.method("minimumLedgerSlot")
def minimum_ledger_slot(_node: Node) -> int:
    """0: this node keeps every transaction since genesis."""
    return 0


@METHODS.method("getMinimumBalanceForRentExemption")
def get_minimum_balance(_node: Node, size: U64, _config: Config | None = None) -> int:
    """The lamports that an account of a size must hold."""
    return rent_exempt_minimum(size)


@METHODS.method("getRecentPrioritizationFees")
def get_recent_prioritization_fees(node: Node, _addresses: list[Address] | None = None) -> list[dict[str, int]]:
    """Zero for each of the last 150 blocks: nobody competes here."""
    view = node.view
    blocks = view.window.newest(BLOCKHASH_LIFETIME, view.tip)
    return [{"slot": block.slot, "prioritizationFee": 0} for block in blocks]


@METHODS.method("getFeeForMessage")
def get_fee_for_message(node: Node, message: str, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """A message's fee in lamports; null when its blockhash is not good any more."""
    block = node.block(config.commitment, config.min_context_slot)
    try:
        content = from_bytes_versioned(decode_base64(message))
    except ValueError as error:
        raise invalid_param(f"failed to deserialize message: {error}") from error
    known = node.view.accepts(content.recent_blockhash, block)
    return in_context(block, fee_of(content).total if known else None)
