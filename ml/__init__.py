"""Machine learning of the clothes matcher: encoders that map photos of clothes to unit vectors, and vector search.

A plain library without Django and Celery, with a command line (`python -m ml`). From the lowest layer up:

    formats/       file formats and errors that the catalogue may import, too: no numpy, no torch
    vectors        unit vectors: normalisation and checks
    images/        decoding, preprocessing, simulated phone photos
    data/          manifests, converters from other layouts, checks, sampling and augmentation for training
    scoring/       calibration of similarities to probabilities, out-of-distribution scores, match confidence
    search/        nearest-neighbour indexes: in memory, in PostgreSQL (pgvector), in Qdrant
    encoder/       encoder folders, cards, backbones and networks
    runtime/       running an encoder with ONNX Runtime, OpenVINO or torch
    inference/     embedder and classifier: from pictures to vectors or probabilities
    evaluation/    metrics with confidence intervals; reporting/: pictures and logs of training runs
    training/      training runs, from a manifest to an encoder folder
    commands/, cli the command line

Serving imports neither torch nor torchvision.
"""
