"""Swaps parts of the product for a while."""

import contextlib
from collections.abc import Iterator
from inspect import getattr_static
from typing import Any


@contextlib.contextmanager
def swapped(*swaps: tuple[Any, str, Any]) -> Iterator[None]:
    """Each (owner, name, replacement), undone at the end in reverse order."""
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in swaps:
            stack.callback(setattr, owner, name, getattr_static(owner, name))
            setattr(owner, name, replacement)
        yield
