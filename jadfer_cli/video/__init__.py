"""Reading video (the timeline, and the decoded frames at those times) and writing it.

Only this folder imports decord and av, and only once a video is opened. Nothing here knows about
faces.
"""
