"""The command line: `python starter.py --help`."""

from autopay.cli.app import main

if __name__ == "__main__":
    main()
