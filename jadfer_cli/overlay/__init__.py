"""Draws a result over its video, or blurs the faces that the result found.

Nothing here detects faces.
"""
