"""Key files of the Solana CLI: a JSON list of 64 numbers. What is in one is never quoted."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from solders.keypair import Keypair

from autopay.settings.secret_file import read_secret_text

_NUMBERS = TypeAdapter(list[Annotated[int, Field(strict=True, ge=0, le=255)]])


def read_key_file(path: Path) -> Keypair:
    """The key in a file.

    Raises:
        SecretFileError: it cannot be read.
        ValueError: it holds no key.
    """
    text = read_secret_text(path)
    try:
        return Keypair.from_bytes(bytes(_NUMBERS.validate_json(text)))
    except (ValidationError, ValueError):
        raise ValueError("holds no key as `solana-keygen` writes it") from None
