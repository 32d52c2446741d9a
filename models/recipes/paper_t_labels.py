"""`paper_t` without teachers: the paper's Tables 2 to 4, `no`."""

_base_ = "paper_t"
beta = {}
alpha = 1.0
