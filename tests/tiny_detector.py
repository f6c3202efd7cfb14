"""An ONNX file that loads as an SCRFD detector, for tests of downloads; it finds nothing."""

import functools


@functools.cache
def tiny_scrfd() -> bytes:
    """One input (1, 3, H, W) and nine outputs, by which InsightFace knows an SCRFD."""
    from onnx import TensorProto, helper

    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    outputs = [
        helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, [1, 3, "height", "width"])
        for i in range(9)
    ]
    nodes = [helper.make_node("Identity", ["picture"], [output.name]) for output in outputs]
    graph = helper.make_graph(nodes, "tiny", [picture], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
