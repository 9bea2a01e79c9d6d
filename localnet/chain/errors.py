"""The errors of Solana's JSON-RPC interface, with the codes and texts of Agave's `rpc-client-api/custom_error.rs`."""

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
PREFLIGHT_FAILURE = -32002
SIGNATURE_VERIFICATION_FAILURE = -32003
NODE_UNHEALTHY = -32005
UNSUPPORTED_TRANSACTION_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016

TransactionError = str | dict[str, Any]

_TRANSACTION_ERRORS = {
    "AccountInUse": "Account in use",
    "AccountLoadedTwice": "Account loaded twice",
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "SignatureFailure": "Transaction did not pass signature verification",
    "InvalidProgramForExecution": "This program may not be used for executing instructions",
    "SanitizeFailure": "Transaction failed to sanitize accounts offsets correctly",
    "AddressLookupTableNotFound": "Transaction loads an address table account that doesn't exist",
}
_INSTRUCTION_ERRORS = {
    "GenericError": "generic instruction error",
    "InvalidArgument": "invalid program argument",
    "InvalidInstructionData": "invalid instruction data",
    "InvalidAccountData": "invalid account data for instruction",
    "InsufficientFunds": "insufficient funds for instruction",
    "IncorrectProgramId": "incorrect program id for instruction",
    "MissingRequiredSignature": "missing required signature for instruction",
    "AccountAlreadyInitialized": "instruction requires an uninitialized account",
    "UninitializedAccount": "instruction requires an initialized account",
    "ComputationalBudgetExceeded": "Computational budget exceeded",
    "ProgramFailedToComplete": "Program failed to complete",
    "InvalidAccountOwner": "Invalid account owner",
    "IllegalOwner": "Provided owner is not allowed",
}


class RpcError(Exception):
    """An answer with an error object instead of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """The error object of the answer; `data` is left out when there is none."""
        content = {"code": self.code, "message": self.message}
        return content if self.data is None else {**content, "data": self.data}


def invalid_param(message: str) -> RpcError:
    """The caller's parameter cannot be used."""
    return RpcError(INVALID_PARAMS, message)


def min_context_slot(context_slot: int) -> RpcError:
    """This node has not reached the slot that the caller asked for."""
    text = "Minimum context slot has not been reached"
    return RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, text, {"contextSlot": context_slot})


def unhealthy(slots_behind: int) -> RpcError:
    """This node lags too far behind to be trusted with a preflight."""
    text = f"Node is behind by {slots_behind} slots"
    return RpcError(NODE_UNHEALTHY, text, {"numSlotsBehind": slots_behind})


def signature_failure() -> RpcError:
    """A required signature is missing or wrong."""
    return RpcError(SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure")


def unsupported_version(version: int) -> RpcError:
    """The caller did not say that it reads transactions of this version."""
    text = (
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again "
        f'with the following configuration parameter: "maxSupportedTransactionVersion": {version}'
    )
    return RpcError(UNSUPPORTED_TRANSACTION_VERSION, text)


def preflight_failure(error: TransactionError, simulation: dict[str, Any]) -> RpcError:
    """The transaction would fail, so it was not sent; `simulation` is what simulateTransaction would answer."""
    text = f"Transaction simulation failed: {describe(error)}"
    return RpcError(PREFLIGHT_FAILURE, text, simulation)


def describe(error: TransactionError) -> str:
    """The sentence that Agave shows for a transaction error (its `Display`)."""
    if isinstance(error, str):
        return _TRANSACTION_ERRORS.get(error, error)
    (name, detail), *_ = error.items()
    if name == "InstructionError":
        return f"Error processing Instruction {detail[0]}: {_describe_instruction(detail[1])}"
    if name == "InsufficientFundsForRent":
        index = detail["account_index"]
        return f"Transaction results in an account ({index}) with insufficient funds for rent"
    if name == "DuplicateInstruction":
        return f"Transaction contains a duplicate instruction ({detail}) that is not allowed"
    return name


def _describe_instruction(error: TransactionError) -> str:
    if isinstance(error, str):
        return _INSTRUCTION_ERRORS.get(error, error)
    if "Custom" in error:
        return f"custom program error: {error['Custom']:#x}"
    return next(iter(error))
