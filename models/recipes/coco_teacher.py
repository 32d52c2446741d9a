"""The unified student with the COCO teacher alone."""

_base_ = "evening"
beta = {"tinypose": 0.45, "tinypose_mpii16": 0.0}
