"""First stage of `small` at half the resolution, where a step costs a third.

union21-s took the weights after the fifth of these ten epochs, where the rate begins to fall.
"""

_base_ = "small"
size_hw = (128, 96)
split = 4.0
epochs = 10
warm_up_steps = 100
lr = 1e-3
ema = 0.003
