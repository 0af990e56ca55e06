"""File formats and errors that other packages may import without numpy or torch: standard library and Pillow only."""
