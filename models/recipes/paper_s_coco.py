"""`paper_s` on COCO's people alone, without teachers: the paper's Table 1, `COCO*`."""

_base_ = "paper_s_labels"
datasets = ["coco*"]
