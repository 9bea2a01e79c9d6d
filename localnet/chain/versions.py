"""What accounts held in the recent past, so that a reader at `finalized` sees what was final, not what is newest."""

from collections import deque
from dataclasses import dataclass, field

from solders.account import Account
from solders.pubkey import Pubkey

KEPT_SLOTS = 512


@dataclass
class AccountVersions:
    """The states of every account that changed in the last `KEPT_SLOTS` slots.

    Each account's list starts with its state before the first remembered change, as of slot 0.
    """

    _states: dict[Pubkey, list[tuple[int, Account | None]]] = field(default_factory=dict)
    _changes: deque[tuple[int, Pubkey]] = field(default_factory=deque)

    def record(self, slot: int, address: Pubkey, before: Account | None, after: Account | None) -> None:
        """Note that an account changed in a slot; the last change of a slot is the one that counts."""
        states = self._states.setdefault(address, [(0, before)])
        if states[-1][0] == slot:
            states[-1] = (slot, after)
        else:
            states.append((slot, after))
            self._changes.append((slot, address))

    def at(self, slot: int, address: Pubkey, now: Account | None) -> Account | None:
        """The account at the end of a slot, given its present state."""
        for since, state in reversed(self._states.get(address, ())):
            if since <= slot:
                return state
        return now

    def changed_at(self, slot: int, address: Pubkey) -> int:
        """The newest slot up to `slot` in which an account changed; 0 when no change is remembered."""
        return next((since for since, _ in reversed(self._states.get(address, ())) if since <= slot), 0)

    def forget(self, before_slot: int) -> None:
        """Drop what only a reader before a slot would see."""
        while self._changes and self._changes[0][0] <= before_slot:
            _, address = self._changes.popleft()
            states = self._states[address]
            del states[0]
            if len(states) == 1:
                del self._states[address]  # its only state is the present
