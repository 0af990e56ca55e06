"""Encoders: the card, the folder, the network and its backbones, and the export to ONNX."""
