"""Networks that turn photos of clothes into unit vectors, and the exact search among those. No Django, no Celery.

Serving (neither torch nor torchvision is imported):
    encoder_folder, card     a trained network on disk
    preprocess, pictures     from a file to what a network reads
    embedder, classifier     from pictures to unit vectors or to labels
    runtime, onnx_runtime    what runs the network (torch_runtime where there is CUDA)
    calibration, strangeness from a cosine to a probability; what is no photo of clothes
    vectors, search          unit vectors made and checked; who is nearest
Building and judging:
    manifest, layouts/       which photos, with which label, item and split; data_check finds what is wrong with them
    backbones, network       the trunk with its head, to weights and ONNX and back (onnx_file); vision is torchvision
    pretrained, whitening    the first encoder, made without training
    training/                from a manifest to an encoder folder; reporting/ draws what one sees of a run
    evaluation/              how good an encoder is; phone_view draws its queries
The command line is cli and commands/.
"""
