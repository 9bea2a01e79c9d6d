"""Metrics: their table, how they are recorded, and what reads gauges. Nothing here knows who exposes them.

What shows them to Prometheus is the SDK's own endpoint (`autopay.temporal.telemetry`).
"""
