"""Outbound HTTP to untrusted URLs, protected against SSRF: photo downloads and webhooks."""
