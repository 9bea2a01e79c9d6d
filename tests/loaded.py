"""What command lines load, seen in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

RUN = """
import json, os, sys
from autopay.cli.app import run
codes = [run(line) for line in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
sys.stderr.flush()
os._exit(0)  # the threads of Temporal's SDK may abort a normal exit
"""


def loaded_by(directory: Path, *lines: list[str]) -> tuple[list[int], set[str]]:
    """The exit codes of these command lines in one new process, and the packages that it has loaded at the end."""
    command = [sys.executable, "-c", RUN, json.dumps(lines)]
    environment = {"PYTHONPATH": str(ROOT), "AUTOPAY_HOME": str(directory)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory, env=environment)
    codes, loaded = json.loads(done.stderr.splitlines()[-1])
    return codes, set(loaded)
