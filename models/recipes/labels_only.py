"""The unified student without teachers, whoever a set has: the paper's Tables 2 to 4, `no`."""

_base_ = "evening"
beta = {}
alpha = 1.0
