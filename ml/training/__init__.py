"""Training: from a manifest to an encoder folder. Needs torch; serving does not import it.

In the order of a run: options, dataset (photos, cached views, batches), model (the network with frozen stages), losses,
mixup, metric and classifier (the two tasks), optimizer, distributed, checkpoints, loop; then run_pictures, prototypes
and publish (the encoder folder). run puts them together; pretrained builds an encoder without training.
"""
