"""Face detection on a device: detector graphs and pictures in PyTorch.

Nothing here is needed on a CPU.
"""
