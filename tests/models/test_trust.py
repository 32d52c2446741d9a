"""A card's trust in single keypoints is a part of what a student is taught."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.skeletons import UNION_21
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from annotator.training import write_set
from models.dataset import PeopleSet
from models.preprocess import Preprocessor
from tests.models.made import dot_teacher, two_datasets

STILL = {"colour": 0, "blank": 0, "half_body": 0, "scale": (1, 1), "rotate": 0, "shift": 0}
LEFT, RIGHT = UNION_21.index("left_wrist"), UNION_21.index("right_wrist")


@pytest.fixture
def people(tmp_path) -> PeopleSet:
    """Taught by the dots, whose left wrists are trusted half, the noses not at all."""
    dots = dot_teacher(tmp_path)
    trusted = OnnxModel(dots.card.model_copy(update={"trust": {"left_wrist": 0.5, "nose": 0.0}}), dots.path)
    write_set(tmp_path / "set", two_datasets(tmp_path, n=2), [trusted], UNION_21, Cache(None))
    return PeopleSet(str(tmp_path / "set"))


def weights(people: PeopleSet, flip: float) -> torch.Tensor:
    rows = torch.utils.data.default_collate([people[i] for i in range(len(people))])
    made = Preprocessor(people.info, (128, 96), 4.0, STILL | {"flip": flip}, seed=0)
    return made(rows, training=True)["targets"]["teachers"]["dots"][1]


def test_a_set_names_its_teachers_trust_in_every_keypoint(people, tmp_path):
    trust = json.loads((tmp_path / "set" / "set.json").read_text())["teachers"][0]["trust"]
    assert len(trust) == 21 and (trust[LEFT], trust[RIGHT], trust[UNION_21.index("nose")]) == (0.5, 1.0, 0.0)


def test_a_word_weighs_score_times_trust_also_in_the_mirror(people):
    score = torch.from_numpy(people.arrays["teacher_score"][:, 0])
    plain, mirrored = weights(people, 0.0), weights(people, 1.0)
    torch.testing.assert_close(plain[:, LEFT], 0.5 * score[:, LEFT])
    torch.testing.assert_close(plain[:, RIGHT], score[:, RIGHT])
    torch.testing.assert_close(mirrored[:, RIGHT], 0.5 * score[:, LEFT])
    assert not plain[:, UNION_21.index("nose")].any()


def test_a_set_without_trust_is_taught_as_before(people):
    del people.info["teachers"][0]["trust"]
    score = torch.from_numpy(people.arrays["teacher_score"][:, 0])
    torch.testing.assert_close(weights(people, 0.0)[:, LEFT], score[:, LEFT])
