"""The parts of the workflow `Agent`: each does one thing for its loop, in workflows/agent.py."""
