"""Methods that read accounts and tokens, as of the commitment asked for.

States are remembered for 512 slots: a node that lags further behind shows the oldest state it remembers, and after a
restart the one it restarted with.
"""

from collections.abc import Callable, Iterable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.chain.blocks import Block
from localnet.chain.errors import invalid_param
from localnet.chain.rpc.account_json import show_account
from localnet.chain.rpc.methods import Methods, Node, in_context
from localnet.chain.rpc.params import AccountConfig, Address, ManyAccountsConfig, ReadConfig, TokenFilter, at_most
from localnet.chain.token_state import TOKEN_PROGRAMS, ReadAccount, TokenHolding, read_holding, read_mint, ui_amount

METHODS = Methods()
MAX_ACCOUNTS = 100
_DEFAULT = AccountConfig()
_DEFAULTS = ManyAccountsConfig()


@METHODS.method("getBalance")
def get_balance(node: Node, address: Address, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """Lamports; 0 for an account that does not exist."""
    block, read = _reader(node, config)
    account = read(address)
    return in_context(block, account.lamports if account else 0)


@METHODS.method("getAccountInfo")
def get_account_info(node: Node, address: Address, config: AccountConfig = _DEFAULT) -> dict[str, Any]:
    """An account, or null."""
    block, read = _reader(node, config)
    return in_context(block, show_account(read(address), config.encoding, read, config.data_slice))


@METHODS.method("getMultipleAccounts")
def get_multiple_accounts(
    node: Node, addresses: list[Address], config: ManyAccountsConfig = _DEFAULTS
) -> dict[str, Any]:
    """Up to 100 accounts of one and the same slot."""
    at_most(MAX_ACCOUNTS, len(addresses))
    block, read = _reader(node, config)
    shown = [show_account(read(address), config.encoding, read, config.data_slice) for address in addresses]
    return in_context(block, shown)


@METHODS.method("getTokenAccountBalance")
def get_token_account_balance(node: Node, address: Address, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """What a token account holds."""
    block, read = _reader(node, config)
    account = read(address)
    if account is None:
        raise invalid_param("Invalid param: could not find account")
    holding = read_holding(account)
    mint = read_mint(read(holding.mint)) if holding else None
    if holding is None or mint is None:
        raise invalid_param("Invalid param: not a Token account")
    return in_context(block, ui_amount(holding.amount, mint.decimals))


@METHODS.method("getTokenSupply")
def get_token_supply(node: Node, address: Address, config: ReadConfig = _DEFAULT) -> dict[str, Any]:
    """How much of a token exists."""
    block, read = _reader(node, config)
    account = read(address)
    if account is None:
        raise invalid_param("Invalid param: could not find account")
    mint = read_mint(account)
    if mint is None:
        raise invalid_param("Invalid param: not a Token mint")
    return in_context(block, ui_amount(mint.supply, mint.decimals))


@METHODS.method("getTokenAccountsByOwner")
def get_token_accounts_by_owner(
    node: Node, owner: Address, wanted: TokenFilter, config: AccountConfig = _DEFAULT
) -> dict[str, Any]:
    """A wallet's token accounts of a mint or a token program."""
    return _token_accounts(node, owner, wanted, config, lambda holding: holding.owner)


@METHODS.method("getTokenAccountsByDelegate")
def get_token_accounts_by_delegate(
    node: Node, delegate: Address, wanted: TokenFilter, config: AccountConfig = _DEFAULT
) -> dict[str, Any]:
    """The token accounts from which a delegate may pay."""
    return _token_accounts(node, delegate, wanted, config, lambda holding: holding.delegate)


def _token_accounts(
    node: Node,
    key: Pubkey,
    wanted: TokenFilter,
    config: AccountConfig,
    role: Callable[[TokenHolding], Pubkey | None],
) -> dict[str, Any]:
    block, read = _reader(node, config)
    _check_filter(wanted, read)
    found = [
        (address, account)
        for address, account, holding in _holdings(node.bank.token_accounts(key), read)
        if role(holding) == key and wanted.mint in (None, holding.mint)
        if wanted.mint is not None or wanted.program_id == holding.program
    ]
    value = [
        {"pubkey": str(address), "account": show_account(account, config.encoding, read, config.data_slice)}
        for address, account in found
    ]
    return in_context(block, value)


def _check_filter(wanted: TokenFilter, read: ReadAccount) -> None:
    if wanted.mint is not None:
        if read_mint(read(wanted.mint)) is None:
            raise invalid_param("Invalid param: could not find mint")
    elif wanted.program_id not in TOKEN_PROGRAMS:
        raise invalid_param("Invalid param: unrecognized Token program id")


def _holdings(addresses: Iterable[Pubkey], read: ReadAccount) -> Iterable[tuple[Pubkey, Account, TokenHolding]]:
    for address in addresses:
        account = read(address)
        holding = read_holding(account)
        if account is not None and holding is not None:
            yield address, account, holding


def _reader(node: Node, config: ReadConfig) -> tuple[Block, ReadAccount]:
    block = node.block(config.commitment, config.min_context_slot)
    return block, lambda address: node.bank.account(address, block.slot)
