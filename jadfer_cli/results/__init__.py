"""Writes and opens one result: its rows, its metadata and its files.

Code that analyses results does not belong here.
"""
