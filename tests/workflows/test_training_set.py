"""The parts of the real training set, against the counts in the data's README."""

from __future__ import annotations

import pytest

from workflows.training_set import check_parts, training_parts


@pytest.mark.slow
def test_training_takes_the_training_splits_and_the_first_half_of_lsp(data):
    parts = {part.name: part for part in training_parts(data)}
    counts = {name: len(part.people) for name, part in parts.items()}
    assert counts == {"coco": 4699, "coco2017": 370, "mpii": 1509, "lsp": 1000, "lspet": 3925}
    assert {name: part.label_weight for name, part in parts.items() if part.label_weight != 1} == {"lspet": 0.5}


@pytest.mark.slow
def test_training_is_checked_on_well_labelled_people_of_choose(data):
    assert {part.name: len(part.people) for part in check_parts(data)} == {"coco": 147, "mpii": 143}
