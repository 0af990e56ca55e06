"""Reporting of a training run: metrics.jsonl, pictures, and experiment trackers."""
