"""The documents name files and code that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)


def tracked() -> list[str]:
    """Every file of the repository."""
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_leads_to_one(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [link for link in links if link and "://" not in link]
    assert [link for link in local if not (ROOT / document).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/.*]+\.(?:py|sql))`", text))
    paths = [f"/{path}" for path in tracked()]
    missing = [
        name for name in named if not any(re.search(re.escape("/" + name).replace(r"\*", ".*") + "$", p) for p in paths)
    ]
    assert missing == []


def test_what_stops_an_attack_is_in_the_module_that_is_named() -> None:
    """`docs/attacks.md` says "`name` in `module.py`": the name is in a module of that name."""
    text = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
    missing = []
    for names, module in re.findall(r"((?:`\w+`(?:, | and )?)+) in `([\w/.]+\.(?:py|sql))`", text):
        files = [ROOT / path for path in tracked() if f"/{path}".endswith(f"/{module}")]
        sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
        missing += [f"{name} in {module}" for name in re.findall(r"`(\w+)`", names) if name not in sources]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_command_is_written_in_one_form(document: str) -> None:
    """`autopay ...`; the image of containers has it as a file only."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("run --rm autopay:0.2.0 starter.py", "")
    assert (
        re.findall(r"(?:python |`)starter\.py \S+", text.replace("| `migrate` | `starter.py db upgrade` |", "")) == []
    )
