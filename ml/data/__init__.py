"""Data of a training or an evaluation: manifests, checks, converters, sampling, augmentation."""
