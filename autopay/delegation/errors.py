"""Why a grant or a revoke did not come to its end; the faults of `adapters/solana/owner` are raised as they are."""

from autopay.client.errors import InvalidCall


class NotDelegated(InvalidCall):
    """A grant or revoke cannot go on like this.

    Args:
        kind: a stable name for programs.
        why: a sentence for people.
        command: the command that helps, if there is one.
    """

    def __init__(self, kind: str, why: str, command: str = "") -> None:
        super().__init__(f"{why}: {command}" if command else why, kind)
        self.why, self.command = why, command


class WaitsForOwner(NotDelegated):
    """Nothing is wrong: the owner has not signed yet, or payments of the session are still open."""
