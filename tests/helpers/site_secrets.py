"""Environment variables that hold secrets of a site, for tests of what child processes can see."""

SECRETS = (
    *("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "QDRANT_API_KEY", "EMAIL_PASSWORD", "EMAIL_USER"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "S3_SECRET_KEY"),
    *("POSTGRES_PASSWORD", "PGPASSWORD"),
    "SOME_NEW_API_KEY",  # invented: a secret that a later version or a deployment adds
)
"""Every documented secret, the ways in which libraries read theirs, and one that no list knows."""
