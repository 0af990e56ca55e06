"""Admin of training runs: start form, live page, metrics, pictures."""
