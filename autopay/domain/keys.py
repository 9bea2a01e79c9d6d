"""Whether a keyring belongs to a ledger, by the check values of its keys. Pure.

A check value is 16 bytes of HMAC-SHA-256 over a fixed label, with the key: it tells a key from another, and nothing of
the key. The ledger keeps one of each version that was ever used with it.
"""

from collections.abc import Mapping

from autopay.domain.text.command_line import command_line

KEEP = (
    "use the keyring of the workers of this ledger (AUTOPAY_KEYRING_FILE or AUTOPAY_KEYRING, or AUTOPAY_HOME of the "
    "stack)"
)

Checks = Mapping[int, str]
"""Check values by key version."""


def why_refused(known: Checks, keyring: Checks) -> str | None:
    """Why the keyring is not the ledger's, and what to do; None if it is, or if the ledger knows none yet.

    Versions that the ledger does not know are new ones, after a rotation; older ones may have been dropped. The lowest
    one must stay, as memos are derived from it, and the newest, as the present secrets are sealed with it.
    """
    if not known:
        return None
    others = [version for version, check in keyring.items() if known.get(version, check) != check]
    if others:
        said = f"AUTOPAY_KEYRING is another keyring than this ledger's: its key {_named(others)} differs"
        return f"{said}; {KEEP}{_if_lost(max(others))}"
    missing = [version for version in {min(known), max(known)} if version not in keyring]
    if missing:
        said = f"AUTOPAY_KEYRING lacks key {_named(missing)} of this ledger: it is another, or an older copy"
        return f"{said}; {KEEP}{_if_lost(max(missing))}"
    return None


def _if_lost(version: int) -> str:
    return f"; if key {version} is lost for good: {command_line('keyring', '--forget', version)}"


def _named(versions: list[int]) -> str:
    return " and ".join(str(version) for version in sorted(versions))
