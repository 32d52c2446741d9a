"""First stage of `rtmpose_t` at half the resolution, where a step costs a quarter."""

_base_ = "rtmpose_t"
size_hw = (128, 96)
split = 4.0
