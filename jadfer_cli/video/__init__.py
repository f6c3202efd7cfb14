"""Video in: the timeline of every shown frame, and the pictures at those times.

This folder alone imports decord and av, and only when a video is opened.
"""
