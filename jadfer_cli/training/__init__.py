"""Data sets of labelled faces, training and evaluation of networks on them.

Nothing here knows about videos, results or the terminal; the network runs on crops alone.
"""
