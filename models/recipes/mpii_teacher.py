"""The unified student with the MPII teacher alone."""

_base_ = "evening"
beta = {"tinypose": 0.0, "tinypose_mpii16": 0.25}
