"""Indexes in memory: exact search with an int8 first pass, approximate search (IVF), and snapshots."""
