"""Reads conversations of real customers from files and plays them through the gateway.

A new format is a module with a `read(path)` and one line in `parley.importing.formats`.
"""
