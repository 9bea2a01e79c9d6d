"""Where `workflows`, `activities`, `localnet`, `worker.py` and the migrations are, and how processes import them.

In a checkout they are at its top level. A wheel has them in a folder of this package instead (setup.py): as top-level
modules they would take the place of a user's own `workflows`, `activities` or `worker`, or he theirs. Only the command
line, workers and the parts of the embedded stack put that folder on their path; a program that imports `autopay` does
not get it.
"""

import sys
from pathlib import Path

_INSTALLED = Path(__file__).with_name("_top_level")

TOP_LEVEL = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]
"""The folder of these modules: a checkout, or the one that a wheel has."""

MIGRATIONS = TOP_LEVEL / "alembic"
"""Alembic's folder."""

WORKER = TOP_LEVEL / "worker.py"
"""The program of a worker."""


def import_from_top_level() -> None:
    """Find these modules first from now on, whatever else is installed under their names."""
    if sys.path[:1] != [str(TOP_LEVEL)]:
        sys.path.insert(0, str(TOP_LEVEL))
