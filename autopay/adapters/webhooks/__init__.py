"""Sends webhooks over checked connections."""
