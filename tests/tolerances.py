"""How far probabilities may differ, by comparison: the one table for all tests."""

SAME_MACHINE = 1e-4  # run again, other batch size; rows, ids and boxes equal
OTHER_MACHINE = 1e-3  # fp32 on another machine or in ONNX Runtime
HALF_MEAN, HALF_MAX = 0.005, 0.05  # bf16 or fp16 against fp32
FASTER_DETECTION_MEAN = 0.01  # faster detection paths against full detection on every frame
