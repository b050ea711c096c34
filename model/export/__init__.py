"""Export of generators to safetensors and ONNX, and their promotion to production."""
