"""The unified student without Leeds Sports Pose, so that it can be measured there as on a dataset it never saw."""

_base_ = "evening"
datasets = ["coco*", "mpii"]
