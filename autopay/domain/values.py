"""The one base of every value: a frozen pydantic model, compared by its fields. Shapes that others send are strict."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Value(BaseModel):
    """Cannot be changed after it was made; `model_copy(update=...)` gives a changed copy.

    Unknown fields are ignored, so that what another release wrote can be read.
    """

    model_config = ConfigDict(frozen=True)


class StrictValue(Value):
    """A value that people or other programs write: an unknown field is an error, as it would be a typing mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def validation_message(error: "ErrorDetails") -> str:
    """What pydantic says of one wrong value, as the end of a sentence."""
    text = error["msg"].removeprefix("Value error, ")
    return f"{text[:1].lower()}{text[1:]}"
