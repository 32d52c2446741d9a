"""Known keypoints on their way into a network that takes prompts, and what follows when one is corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator import demo, formats, rounds
from annotator.formats.dataset import Dataset
from annotator.people import People
from annotator.skeletons import UNION_21
from annotator.students import registry
from annotator.students.base import PoseModel
from annotator.students.cache import Cache
from tests import networks, scenes

EVERYTHING = list(UNION_21.keypoints)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PoseModel:
    """A student whose proposals keep their distances from the known points, whatever the picture."""
    card = networks.prompted_student(tmp_path_factory.mktemp("prompted"))
    return registry.resolve(str(card), UNION_21, card.parent)


@pytest.fixture(scope="module", params=["coco", "mpii"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A file that counts pixels from 0, and one that counts from 1."""
    return formats.read(*getattr(scenes, request.param)(tmp_path_factory.mktemp(request.param)), request.param)


def proposed(model: PoseModel, source: Dataset, people: People) -> np.ndarray:
    return model.predict(source.images, people, Cache(None))[0].xy


def test_proposals_move_with_a_known_point_in_the_pixels_of_the_picture(model: PoseModel, source: Dataset) -> None:
    people = source.people.project(UNION_21).hide(EVERYTHING)
    alone = proposed(model, source, people)
    # The only known point lies 3 and 2 pixels from where the student would put it: so do all others.
    nose = np.arange(21) == UNION_21.index("nose")
    known = replace(
        people, xy=np.where(nose[:, None], alone + np.array([3, -2]), np.nan), v=np.where(nose, 2, people.v)
    )
    assert proposed(model, source, known) - alone == pytest.approx(np.full(alone.shape, [3.0, -2.0]), abs=0.05)


def test_hidden_labels_are_not_told(model: PoseModel, source: Dataset) -> None:
    people = source.people.project(UNION_21)
    hidden = people.hide(EVERYTHING)
    elsewhere = replace(people, xy=people.xy + 5).hide(EVERYTHING)
    assert np.array_equal(proposed(model, source, hidden), proposed(model, source, elsewhere))
    assert not np.allclose(proposed(model, source, hidden), proposed(model, source, people))


def test_what_is_kept_for_some_known_points_is_not_used_for_others(model: PoseModel, source: Dataset) -> None:
    people, kept = source.people.project(UNION_21), Cache(None)
    words = [model.predict(source.images, one, kept)[0].xy for one in (people, people.hide(["left_hip"]), people)]
    assert np.array_equal(words[0], words[2])
    assert not np.array_equal(words[0], words[1])


def test_correcting_one_point_moves_the_others_and_the_rules(model: PoseModel, source: Dataset) -> None:
    people = source.people.project(UNION_21).take(np.array([0]))
    given, hips = np.full((1, 21, 2), np.nan), UNION_21.indices(["left_hip", "right_hip"])
    alone = rounds.repropose(model, source.images, people, given, Cache(None)).xy[0]
    given[0, hips] = alone[hips] + [3, -2]
    after = rounds.repropose(model, source.images, people, given, Cache(None)).xy[0]
    assert after - alone == pytest.approx(np.full((21, 2), [3.0, -2.0]), abs=0.05)
    assert after[UNION_21.index("pelvis")].tolist() == given[0, hips].mean(axis=0).tolist()


def test_a_network_without_prompts_is_asked_as_before(source: Dataset, tiny_student: Path) -> None:
    plain = registry.resolve(str(tiny_student), UNION_21, tiny_student.parent)
    people = source.people.project(UNION_21)
    assert np.array_equal(proposed(plain, source, people), proposed(plain, source, people.hide(EVERYTHING)))


def test_the_rest_follows_a_correction_with_the_student_that_ships(tmp_path: Path) -> None:
    labels = demo.unpack(tmp_path)
    source = formats.read(labels, tmp_path / "images", "coco")
    people, elbow = source.people.project(UNION_21), UNION_21.index("left_elbow")
    model, given = registry.resolve("default", UNION_21), np.full(people.xy.shape, np.nan)
    alone = rounds.repropose(model, source.images, people, given, Cache(None)).xy
    given[:, elbow] = alone[:, elbow] + people.bbox_xywh[:, 2:3] * [0.15, 0]
    after = rounds.repropose(model, source.images, people, given, Cache(None)).xy
    others = np.arange(len(UNION_21)) != elbow
    moved = np.linalg.norm(after - alone, axis=2)[:, others].max(axis=1) / (0.15 * people.bbox_xywh[:, 2])
    # These pictures are clear and the elbow was right before: the others follow, but none as far as the elbow went.
    assert moved.min() > 0.1 and moved.max() < 1
    assert np.array_equal(rounds.repropose(model, source.images, people, given * np.nan, Cache(None)).xy, alone)
