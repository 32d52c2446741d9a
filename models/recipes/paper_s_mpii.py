"""`paper_s` on MPII's people alone, without teachers: the paper's Table 1, `MPII` and `MPII*`."""

_base_ = "paper_s_labels"
datasets = ["mpii"]
