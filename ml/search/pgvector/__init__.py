"""The index in PostgreSQL with the extension pgvector."""
