"""A student of COCO's people alone, without teachers: the first baseline of the paper's Table 1."""

_base_ = "labels_only"
datasets = ["coco*"]
