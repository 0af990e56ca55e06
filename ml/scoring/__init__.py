"""Scores of results: calibrated probabilities, match confidence and out-of-distribution scores."""
