"""How far one correction carries."""

from __future__ import annotations

import numpy as np

from workflows.corrections import Carried, neighbours, shares, table

# Of two pictures: wrong then right, wrong then nearer; wrong as before, right as before, right then wrong.
CARRIED = Carried(
    before=np.array([1.0, 2.0, 0.9, 0.2, 0.4]),
    after=np.array([0.3, 1.5, 0.95, 0.2, 0.7]),
    moved=np.array([0.8, 0.6, 0.06, 0.0, 0.4]),
    image=np.array([0, 0, 1, 1, 1]),
)


def test_neighbours_are_each_other_s():
    limbs = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist", "hip", "knee")]
    assert all(name in neighbours(other) for name in limbs for other in neighbours(name) if "ankle" not in other)


def test_what_is_counted():
    assert [(int((hit & among).sum()), int(among.sum())) for _, hit, among in shares(CARRIED)] == [
        (2, 5),  # right before
        (2, 5),  # right after: the first and the fourth
        (2, 3),  # wrong ones that move
        (2, 3),  # nearer: by .7 and by .5
        (0, 3),  # farther: .05 is less than a tenth
        (1, 3),  # become right
        (1, 2),  # become wrong
    ]


def test_the_table_has_each_figure_with_its_interval():
    lines = table({"nothing": CARRIED}).splitlines()
    assert lines[2] == "| neighbours of corrected points | 5 |"
    # Of the first picture 0 of 2 are right before, of the second 2 of 3.
    assert lines[3] == "| right before, % | 40.0 (0.0 to 66.7) |"
    # After, the first picture's two are .3 and 1.5 off, the second's three .95, .2 and .7.
    assert lines[-1] == "| mean distance after, heads, 3 at most | 0.730 (0.617 to 0.900) |"
