"""Similarity queries: creation, reading with answers, webhooks."""
