"""One video from frames to rows: the networks loaded once, the flow, resuming.

No reading of finished results.
"""
