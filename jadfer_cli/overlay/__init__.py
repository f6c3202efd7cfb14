"""Draws a result over its video, or blurs the faces that the result found.

Faces are detected here only to check a blurred video.
"""
