"""This installation: networks and their download, doctor, self-test, benchmark.

Nothing here is needed to annotate a video.
"""
