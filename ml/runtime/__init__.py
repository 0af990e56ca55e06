"""Runtimes that execute an encoder's network: ONNX Runtime, OpenVINO and torch."""
