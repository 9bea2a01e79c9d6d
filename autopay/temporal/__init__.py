"""How Autopay talks to Temporal: connection, sealed payloads, search attributes, schedules and rollouts."""

from autopay.temporal.converter import data_converter

__all__ = ["data_converter"]
