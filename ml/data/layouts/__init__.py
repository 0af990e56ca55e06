"""Converters from the file layouts of photo collections to manifests; they validate the published counts.

One module per layout, each with the function

    convert(source, manifest_folder, subset=False) -> list[Photo]

`source`: the folder of the collection; `manifest_folder`: the folder that paths are relative to; `subset`: the source
is a part of the collection on purpose, so the published counts are not required. Raises `ConversionError`.
"""
