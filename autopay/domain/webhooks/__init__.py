"""Webhooks: which events are sent, when, and what is known of it. Pure."""
