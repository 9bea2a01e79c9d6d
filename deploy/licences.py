"""Prints docs/licences.md: the licence of everything that the image installs, as the packages installed here say.

`make licences` writes it. Run it where the versions of requirements-worker.lock are installed.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements-worker.lock"
HEAD = """# Licences of what the image installs

Written by `make licences` from the packages' own metadata; versions are those of `requirements-worker.lock`. The page's
scripts name theirs in `licences.txt` beside them, which is served with the page.

| package | version | licence |
|---|---|---|
"""


def licence_of(package: Distribution) -> str:
    """The SPDX expression where there is one, else the classifiers, the field's first line, or that of the file."""
    found = package.metadata
    if expression := found.get("License-Expression"):
        return expression
    named = [line.split(" :: ")[-1] for line in found.get_all("Classifier") or [] if line.startswith("License :: ")]
    if named := [each for each in named if each != "OSI Approved"]:
        return ", ".join(named)
    texts = [found.get("License") or ""]
    texts += [Path(str(file.locate())).read_text() for file in package.files or [] if file.name.startswith("LICENSE")]
    lines = [text.strip().splitlines()[0][:60] for text in texts if text.strip()]
    return lines[0] if lines else "named nowhere in the package"


def main() -> int:
    """Exit code 1 when another version is installed than the lock has, or none."""
    wrong = []
    sys.stdout.write(HEAD)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        if found.version != version:
            wrong.append(f"{name} is {found.version}, the lock has {version}")
        sys.stdout.write(f"| {name} | {version} | {licence_of(found)} |\n")
    sys.stderr.writelines(f"{each}\n" for each in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
