"""From face crops to calibrated expression probabilities: networks, checkpoints and engines.

Nothing here knows about videos, detectors or results.
"""
