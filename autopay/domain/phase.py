"""How much an agent may do by itself."""

from enum import StrEnum


class Phase(StrEnum):
    """How much an agent may do without a person."""

    DEMO = "DEMO"
    INTERACTIVE = "INTERACTIVE"
    FULL = "FULL"
