"""Everything that predicts: an ONNX network beside a TOML card that says how to feed and read it."""
