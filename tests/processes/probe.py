"""A program that tells what it is, and ends as it is told."""

import asyncio
import json
import os
import signal
import sys
import threading

sys.stdout.write(
    json.dumps(
        {
            "name": __name__,
            "arguments": sys.argv[1:],
            "parent": os.getppid(),
            "session": os.getsid(0) == os.getpid(),
            "folder": os.getcwd(),
            "variables": {name: os.environ[name] for name in os.environ if name.startswith("PROBE")},
            "files": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
            "input": sys.stdin.read(),
            "modules": "temporalio" in sys.modules,
            "path": sys.path[0] == os.path.dirname(__file__),
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        }
    )
    + "\n"
)
sys.stdout.flush()
sys.stderr.write("äöü to stderr\n")
match sys.argv[1]:
    case "raise":
        raise ValueError("as told")
    case "wait":
        asyncio.run(asyncio.sleep(60))
    case code:
        sys.exit(int(code))
