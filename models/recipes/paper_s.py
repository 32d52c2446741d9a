"""The paper's student s: as t, on the next larger CSPNeXt, and what is kept is an average, as MMPose has it for s."""

_base_ = "paper_t"
size = "small"
ema = 0.0002
