"""Face detection on a PyTorch device: detector graphs, and frames scaled and cropped there.

Not imported where ONNX Runtime and OpenCV do this on the CPU.
"""
