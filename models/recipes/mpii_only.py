"""A student of MPII's people alone: the second baseline of the paper's Table 1."""

_base_ = "coco_only"
datasets = ["mpii"]
