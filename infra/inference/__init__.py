"""ONNX inference: the model cache, the MiniLM sentence encoder and the small heads on top of it."""
