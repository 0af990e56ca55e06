"""Reading catalogues: folders of pictures, and tables that name them.

`sources` finds out what lies there, `layouts` and `folders` turn it into rows one by one, `importer` puts the rows into
the catalogue, and `recovery` cleans up after an import that was killed.
"""
