"""The unified student without teachers: the paper's Tables 2 to 4, `no`."""

_base_ = "evening"
beta = {"tinypose": 0.0, "tinypose_mpii16": 0.0}
alpha = 1.0
