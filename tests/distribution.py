"""Which test file goes to which pytest-xdist worker, and in what order: the longest first, so that all end together."""

from collections.abc import Mapping
from typing import Any

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LONGEST_FIRST = (
    "stack/test_demo.py",
    "hostile/",
    "chaos/test_chaos.py",
    "stack/test_rollout.py",
    "stack/test_restore.py",
    "stack/test_agent_commands.py",
    "stack/test_recovery.py",
    "stack/test_stack.py",
    "stack/test_secrets.py",
    "stack/test_session_commands.py",
    "stack/test_up.py",
    "stack/",
    "workflow/test_paid_request.py",
    "workflow/test_agent.py",
    "workflow/",
    "browser/",
    "simulation/",
    "localnet/",
    "chain/",
    "unit/test_agent_year.py",
    "doctor/",
    "ledger/",
    "unit/",
)
"""Files and folders below `tests/` by how long they take; what is not named comes last."""

SHARED: Mapping[str, str] = {
    "browser/test_acts.py": "the browser's stack",
    "browser/test_delegation.py": "the browser's stack",
    "browser/test_page.py": "the browser's stack",
    "stack/test_agent_commands.py": "the common stack",
    "stack/test_api.py": "the common stack",
    "stack/test_commands.py": "the common stack",
    "stack/test_from_python.py": "the common stack",
    "stack/test_gateway.py": "the common stack",
    "stack/test_policy_commands.py": "the common stack",
}
"""Files that use one fixture of the whole run, so that one worker sets it up."""


def rank(nodeid: str) -> int:
    """The place of a test's file in `LONGEST_FIRST`."""
    name = _below_tests(nodeid)
    places = (place for place, prefix in enumerate(LONGEST_FIRST) if name.startswith(prefix))
    return next(places, len(LONGEST_FIRST))


class Distribution(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile`, but in the order of collection, with groups of files, and safe against a worker's crash."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # else a file of one test comes last, however long that takes

    def _split_scope(self, nodeid: str) -> str:
        return SHARED.get(_below_tests(nodeid).partition("::")[0], super()._split_scope(nodeid))

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a worker away that ended or crashed; the test that crashed it, if it did.

        The files that a crashed worker has finished are forgotten here: the library gives them to the next worker,
        which has nothing to run and waits for ever.
        """
        work = self.assigned_work[node]
        for scope in [scope for scope, tests in work.items() if all(tests.values())]:
            del work[scope]
        crashed: str | None = super().remove_node(node)
        return crashed


def _below_tests(nodeid: str) -> str:
    return nodeid.removeprefix("tests/")
