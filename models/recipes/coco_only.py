"""A student of COCO's people alone: the first baseline of the paper's Table 1."""

_base_ = "evening"
datasets = ["coco", "coco2017"]
beta = {"tinypose": 0.0, "tinypose_mpii16": 0.0}
alpha = 1.0
