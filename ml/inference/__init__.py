"""Inference with encoder folders: embed pictures, classify pictures, check a folder."""
