"""The index in a Qdrant server."""
