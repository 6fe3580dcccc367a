"""ONNX inference: the model cache, the MiniLM sentence encoder and the small heads on top of it."""

import os

# onnxruntime would otherwise keep, and send, events about this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
