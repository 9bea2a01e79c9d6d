"""Garbage collection in a process that works for long: less often, and not of what stays."""

import gc

COLLECT_AFTER = 10_000
"""New objects, less those that are gone, after which Python looks for garbage among them (700 by default)."""


def leave_out_of_collections_what_is_loaded() -> None:
    """Modules and adapters live as long as the process: no garbage collection looks through them from now on.

    They are some 200,000 objects, and a third of a second on a slow machine in which no payment goes on. What payments
    leave behind is collected less often, by more at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
