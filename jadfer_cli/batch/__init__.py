"""Many videos: which ones, in which order, by which workers, and how each ended.

What happens to one video is in `pipeline`; nothing here decodes or scores.
"""
