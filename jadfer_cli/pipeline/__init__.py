"""One video from frames to rows: `flow` is the page that shows how; `annotator` loads the networks.

Nothing here reads finished results (`analysis`) or handles several videos (`batch`).
"""
