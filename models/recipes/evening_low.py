"""First stage of `evening` at half the resolution, where a step costs a third."""

_base_ = "evening"
size_hw = (128, 96)
split = 4.0
epochs = 10
warm_up_steps = 100
lr = 1e-3
ema = 0.003
