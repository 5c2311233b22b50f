"""For whom a model is exported, and the files of its folder; nothing that takes time to import."""

SHERPA, PLAIN = "sherpa-onnx", "plain"
TARGETS = (SHERPA, PLAIN)
MODEL, INT8, TOKENS, CARD, LICENCE = "model.onnx", "model.int8.onnx", "tokens.txt", "README.md", "LICENSE"
