"""Training data and evaluation sets: choosing photos, splits, leaks, manifests."""
