"""Training runs: options, preflight check, estimate of resources, life cycle."""
