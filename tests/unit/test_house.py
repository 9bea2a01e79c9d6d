"""The rules of the house: what may import what, and how large a room may grow."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = ("sqlalchemy", "httpx", "solana", "solders", "psycopg", "x402", "alembic")
"""What neither the core nor a workflow loads."""

FLOORS = (
    ("autopay.domain.text",),
    ("autopay.domain",),
    ("autopay.domain.policy",),
    ("autopay.domain.payment",),
    ("autopay.domain.agent",),
    ("autopay.domain.agent.state",),
    ("autopay.domain.reconcile", "autopay.domain.audit", "autopay.domain.report"),
    ("autopay",),
    ("autopay.adapters",),
    ("autopay.adapters.x402", "autopay.adapters.solana", "autopay.adapters.postgres.tables"),
    ("autopay.adapters.postgres.database", "autopay.adapters.solana.owner", "autopay.adapters.webhooks"),
    ("autopay.adapters.postgres.sessions",),
    ("autopay.adapters.postgres.payments",),
    ("autopay.adapters.postgres.agents", "autopay.adapters.postgres.audit", "autopay.adapters.postgres.access"),
    ("autopay.adapters.postgres.reports",),
    ("autopay.adapters.postgres.maintenance", "autopay.adapters.postgres.webhooks"),
    ("autopay.adapters.postgres",),
    ("autopay.temporal",),
    ("activities",),
    ("workflows",),
    ("workflows.agent_parts",),
    ("workflows.agent",),
    ("localnet.weather", "localnet.postgres"),
    ("localnet.chain",),
    ("localnet.chain.rpc",),
    ("localnet.chain.app",),
    ("localnet.tokens",),
    ("localnet.chain.__main__", "localnet.sellers"),
    ("localnet",),
    ("autopay.client.values",),
    ("autopay.client.errors",),
    ("autopay.client.agents",),
    ("autopay.client.requests",),
    ("autopay.client",),
    ("autopay.delegation",),
    ("autopay.transport",),
    ("autopay.httpx", "autopay.httpx2", "autopay.requests"),
    ("autopay.mcp",),
    ("autopay.gateway",),
    ("autopay.health",),
    ("autopay.api.problems", "autopay.api.models"),
    ("autopay.api.access",),
    ("autopay.api.readings",),
    ("autopay.api.actions",),
    ("autopay.api.services",),
    ("autopay.api.paging", "autopay.api.filters", "autopay.api.etags", "autopay.api.request_ids"),
    ("autopay.api.routes", "autopay.api.delegation"),
    ("autopay.api.page",),
    ("autopay.api",),
    ("worker", "autopay.cli.terminal"),
    ("autopay.cli.connect",),
    ("autopay.cli.session",),
    ("autopay.cli.agent",),
    ("autopay.cli.launch",),
    ("autopay.cli.request",),
    ("autopay.cli.policy", "autopay.cli.ledger", "autopay.cli.gateway", "autopay.cli.token", "autopay.cli.webhook"),
    ("autopay.cli.doctor",),
    ("autopay.cli.operate", "autopay.cli.upkeep"),
    ("autopay.cli.demo",),
    ("autopay.cli",),
    ("starter", "autopay.__main__"),
)
"""Each folder (or module) stands on those before it; folders of one floor know nothing of each other."""

LONGEST_MODULE, LONGEST_FUNCTION, MOST_MODULES = 400, 70, 16
"""Lines of a module and of a function, and modules side by side in a folder (without `__init__.py`)."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {name: ROOT / f"{name}.py" for name in ("worker", "starter")}
    for folder in ("autopay", "activities", "workflows", "localnet"):
        for path in (ROOT / folder).rglob("*.py"):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@cache
def floor_of(module: str) -> tuple[int, str]:
    """The number of the module's floor, and the folder (or module) of `FLOORS` that it belongs to."""
    places = [(len(place), number, place) for number, floor in enumerate(FLOORS) for place in floor]
    matching = [each for each in places if f"{module}.".startswith(f"{each[2]}.")]
    _, number, place = max(matching)
    return number, place


@dataclass(frozen=True)
class Source:
    """What the rules ask of a module, read once: all imports, functions with how many lines they have, its lines."""

    imports: tuple[ast.Import | ast.ImportFrom, ...]
    functions: tuple[tuple[str, int], ...]
    lines: int


@cache
def source_of(module: str) -> Source:
    """The module's source."""
    text = modules()[module].read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return Source(
        imports=tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)),
        functions=tuple((each.name, (each.end_lineno or each.lineno) - each.lineno + 1) for each in functions),
        lines=text.count("\n"),
    )


def imports_of(module: str) -> Iterator[str]:
    """Modules of the product that it imports, also inside functions; a package's face is its `__init__`.

    The face of the whole names what other programs import, for type checkers: it imports none of it.
    """
    if module == "autopay":
        return
    for node in source_of(module).imports:
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{each.name}" for each in node.names if f"{node.module}.{each.name}" in modules()]
            names = inner if len(inner) == len(node.names) else [*inner, node.module]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (name for name in names if name in modules() and name != module)


def loaded_by(module: str) -> set[str]:
    """Top-level packages that importing this module brings in, in a fresh interpreter."""
    code = f"import sys, {module}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_core_imports_the_standard_library_and_pydantic_only() -> None:
    core = [module for module in modules() if module.startswith("autopay.domain")]
    assert loaded_by(", ".join(core)).isdisjoint({*HEAVY, "temporalio"})


@pytest.mark.parametrize("module", ["paid_request", "agent", "adopt", "redeliver", "fetch", "upkeep"])
def test_a_workflow_loads_no_adapter_that_does_io(module: str) -> None:
    assert loaded_by(f"workflows.{module}").isdisjoint(HEAVY)


def test_other_teams_workflows_load_no_more_than_temporal_and_plain_types() -> None:
    code = "import sys, autopay.temporal; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.split()
    assert {name.split(".")[0] for name in loaded}.isdisjoint({*HEAVY, "cryptography", "activities", "workflows"})
    ours = {name for name in loaded if name.startswith("autopay.")}
    assert ours <= {"autopay.temporal", "autopay.temporal.nexus"} | {
        f"autopay.temporal.nexus.{name}" for name in ("contract", "failures", "fetch", "ids", "plugin")
    }


def test_no_import_runs_to_a_higher_floor_or_to_a_neighbour() -> None:
    wrong = []
    for module in modules():
        floor, place = floor_of(module)
        for imported in imports_of(module):
            other_floor, other_place = floor_of(imported)
            if other_place != place and other_floor >= floor:
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


def test_what_a_program_of_a_user_imports_knows_no_module_of_the_top_level() -> None:
    """Installed, `workflows` and the like are found by our own processes only: by commands, which begin in `main`."""
    ours = [module for module in modules() if module.startswith("autopay") and not module.startswith("autopay.cli")]
    top_level = ("workflows", "activities", "localnet", "worker", "starter")
    wrong = [(module, each) for module in ours for each in imports_of(module) if each.split(".")[0] in top_level]
    assert wrong == []


def test_no_two_modules_import_each_other() -> None:
    arrows = {module: set(imports_of(module)) for module in modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for imported in arrows[module]:
            visit(imported, (*path, module))
        done.add(module)

    for module in arrows:
        visit(module, ())


def test_no_room_grows_beyond_what_one_can_take_in() -> None:
    too_large = []
    for module in modules():
        source = source_of(module)
        if source.lines > LONGEST_MODULE:
            too_large.append(f"{module}: {source.lines} lines")
        too_large += [f"{module}.{name}: {lines} lines" for name, lines in source.functions if lines > LONGEST_FUNCTION]
    folders = [path.parent for path in modules().values() if path.name != "__init__.py" and path.parent != ROOT]
    full = (folder for folder in set(folders) if folders.count(folder) > MOST_MODULES)
    too_large += [f"{folder.relative_to(ROOT)}: {folders.count(folder)} modules" for folder in full]
    assert too_large == []
