"""HTTP concerns shared by the API and the pages: problems (RFC 9457), rate limits, request ids, middleware."""
