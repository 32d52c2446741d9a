"""`paper_t` on COCO's people alone, without teachers: the paper's Table 1, `COCO*`."""

_base_ = "paper_t_labels"
datasets = ["coco*"]
