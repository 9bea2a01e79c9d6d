"""The command line: `python -m autopay`, where its command `autopay` is not on the path."""

from autopay.cli.app import main

if __name__ == "__main__":
    main()
