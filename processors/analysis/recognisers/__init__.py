"""Finds personal values by pattern and checksum: one file per family, listed in `catalogue`.

Pure, and linear in the length of the text. What replaces the values is left to `redaction`.
"""
