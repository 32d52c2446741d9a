"""The paper's student s: as t, on the next larger CSPNeXt."""

_base_ = "paper_t"
size = "small"
