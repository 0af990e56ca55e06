"""From the layout of a photo collection to manifest rows, each one checked against what its source promises.

One module per layout, all with one function:

    convert(source, manifest_folder, subset=False) -> list[Photo]

`source`: the folder of the collection; `manifest_folder`: where paths start; `subset`: the copy is a part on purpose,
so that the published counts are not asked for. Raises `ConversionError`. What they share is in reading and splits.
"""
