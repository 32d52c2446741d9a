"""`paper_t` on MPII's people alone, without teachers: the paper's Table 1, `MPII` and `MPII*`."""

_base_ = "paper_t_labels"
datasets = ["mpii"]
