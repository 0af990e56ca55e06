"""Training: from a manifest to an encoder folder. Needs torch; nothing that serves imports it.

In the order of a run: options, photos, views, store (views made once and kept), sampling and data (batches), building
and encoder (the network), losses, metric and classifier (what differs between the two), optimizing, distributed,
checkpoints, loop; then showing (pictures) and publishing (the encoder folder). running puts them together.
"""
