"""First stage of `tiny` at half the resolution, where a step costs a quarter."""

_base_ = "tiny"
size_hw = (128, 96)
split = 4.0
