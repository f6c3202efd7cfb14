"""One video from frames to rows: `flow` lists the steps in order; `annotator` loads the networks.

Nothing here reads finished results (`analysis`) or handles several videos (`batch`).
"""
