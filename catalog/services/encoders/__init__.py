"""Encoders: archives, registration, evaluations, release checks and releases."""
