"""Feedback on recommendations, training triplets and their review."""
