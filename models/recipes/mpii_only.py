"""A student of MPII's people alone, without teachers: the second baseline of the paper's Table 1."""

_base_ = "labels_only"
datasets = ["mpii"]
