"""Pictures: decoding, preprocessing for an encoder, simulated phone photos."""
