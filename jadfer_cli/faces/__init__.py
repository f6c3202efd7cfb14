"""From a frame to its faces: detection, tracking, alignment and quality.

No video is decoded here and no expression is scored. Only `scrfd.py` imports insightface; only
`torch/` imports torch.
"""
