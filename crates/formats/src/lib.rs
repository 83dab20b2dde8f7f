//! Weight containers: GGUF, safetensors, PyTorch checkpoints.
