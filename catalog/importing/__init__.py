"""Catalogue import from folders of pictures and CSV tables.

`sources` detects the layout, `tables` reads CSV files, `layouts` and `folders` map a source to rows, `fields` parses
cells, `importer` and `item_writer` put the rows into the catalogue, and `recovery` cleans up after a killed import.
"""
