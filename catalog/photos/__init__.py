"""Photos: validation, crops, colour, thumbnails, signed links, HTTP responses."""
