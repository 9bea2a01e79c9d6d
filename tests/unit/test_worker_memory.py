"""What a worker tells Python's garbage collector when it has started."""

import gc
from collections.abc import Iterator

import pytest

from autopay.garbage import COLLECT_AFTER, leave_out_of_collections_what_is_loaded


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector, as it was before when the test is over."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    if frozen:
        gc.freeze()


@pytest.mark.usefixtures("collector")
def test_no_collection_looks_through_what_is_loaded_and_new_garbage_goes() -> None:
    leave_out_of_collections_what_is_loaded()
    assert gc.get_freeze_count() > COLLECT_AFTER
    assert gc.get_threshold()[0] == COLLECT_AFTER
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() >= 1
