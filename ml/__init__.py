"""Networks that turn photos of clothes into unit vectors, and the exact search among those. No Django, no Celery.

Serving (neither torch nor torchvision is imported):
    encoder_folder, card     a trained network on disk
    preprocess, pictures     from a file to what a network reads
    embedder, onnx_runtime   from pictures to unit vectors (torch_runtime where there is CUDA)
    vectors, search          unit vectors made and checked; who is nearest
Building and judging:
    manifest, convert        which photos, with which label, item and split
    backbones, network       the trunk with its head, to weights and ONNX and back (onnx_file)
    pretrained, whitening    the first encoder, made without training
    metrics, figures         how good an encoder is; phone_view draws its queries
The command line is cli and commands/.
"""
