"""Known failures: types of error and kinds of people worked by hand, figures, and what pages and cards say of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from annotator import formats
from annotator.evaluation.comparison import compare
from annotator.evaluation.predictions import Predictions
from annotator.files import file_sha256
from annotator.formats.dataset import Dataset
from annotator.images import Images
from annotator.people import people
from annotator.skeletons import COCO_17, LSP_14, MPII_16, Skeleton, make
from annotator.students import card as cards
from tests.conftest import ROOT
from workflows import failure_pictures, failures
from workflows.error_types import TYPES, UNLABELLED, error_types, sigmas_of
from workflows.failure_figures import Measured, Share, Split, beyond_edge
from workflows.hard_cases import EDGE, EVERYBODY, REST, UNKNOWN, cases, overlap, sizes, tilt_and_turn, told_by

HIPS = make("hips", ["left_hip", "right_hip"])
# Two people of scale 100 in one picture; similarity exp(-d^2 / (2 (2 .107 100)^2)) = exp(-d^2 / 916).
TRUTH = np.array([[[0.0, 0.0], [100.0, 0.0]], [[0.0, 300.0], [100.0, 300.0]]])
PAGE = (ROOT / "docs" / "failures.md").read_text()
SHIPPED = [cards.load(path) for path in sorted((ROOT / "models" / "weights").glob("*.toml"))]


def types(xy: np.ndarray, truth: np.ndarray, image: list[int], skeleton: Skeleton = HIPS, scale: float = 100.0):
    found = error_types(xy, truth, np.array(image), np.full(len(xy), scale), skeleton)
    return [[TYPES[kind] if kind != UNLABELLED else "" for kind in row] for row in found.tolist()]


@pytest.mark.parametrize(
    ("left_hip", "image", "kind"),
    [
        ((12, 0), [0, 0], "good"),  # exp(-144 / 916) = .854
        ((13, 0), [0, 0], "jitter"),  # exp(-169 / 916) = .832
        ((25, 0), [0, 0], "jitter"),  # exp(-625 / 916) = .505
        ((26, 0), [0, 0], "miss"),  # exp(-676 / 916) = .478
        ((100, 25), [0, 0], "inversion"),
        ((0, 280), [0, 0], "swap"),
        ((0, 280), [0, 1], "miss"),  # the other person is in another picture
        ((100, 300), [0, 0], "miss"),  # the other side of another person
        ((np.nan, np.nan), [0, 0], "miss"),
    ],
)
def test_types_of_error_are_those_worked_by_hand(left_hip, image, kind):
    xy = TRUTH.copy()
    xy[0, 0] = left_hip
    assert types(xy, TRUTH, image) == [[kind, "good"], ["good", "good"]]


@pytest.mark.parametrize(("x", "kind"), [(59, "inversion"), (61, "swap")])
def test_between_the_own_other_side_and_another_person_the_nearer_one_counts(x, kind):
    # The own right hip lies at 40, the other person's left hip at 80: 60 is half way, exp(-400 / 916) = .646 to each.
    truth = np.array([[[0.0, 0.0], [40.0, 0.0]], [[80.0, 0.0], [120.0, 0.0]]])
    xy = truth.copy()
    xy[0, 0] = (x, 0)
    assert types(xy, truth, [0, 0])[0] == [kind, "good"]


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (9, "good"),  # exp(-81 / 916) = .915 to its own label, exp(-121 / 916) = .876 across
        (10, "good"),  # half way, .897 to each
        (11, "inversion"),  # .876 to its own label, which would be good, but .915 across
        (-17, "jitter"),  # exp(-289 / 916) = .729, exp(-1369 / 916) = .224
        (25, "inversion"),  # .505 to its own label, which would be jitter, but exp(-25 / 916) = .973 across
        (48, "miss"),  # exp(-784 / 916) = .425 across
    ],
)
def test_near_both_sides_the_most_similar_one_counts(x, kind):
    truth = np.array([[[0.0, 0.0], [20.0, 0.0]]])
    assert types(np.array([[[x, 0.0], [20.0, 0.0]]]), truth, [0])[0] == [kind, "good"]


@pytest.mark.parametrize(("x", "kind"), [(10, "good"), (11, "swap"), (25, "swap"), (-17, "jitter")])
def test_near_its_own_label_and_another_persons_the_most_similar_one_counts(x, kind):
    # The other person's left hip lies 20 from the own one: the similarities of the test above.
    truth = np.array([[[0.0, 0.0], [300.0, 0.0]], [[20.0, 0.0], [320.0, 0.0]]])
    xy = truth.copy()
    xy[0, 0] = (x, 0)
    assert types(xy, truth, [0, 0])[0] == [kind, "good"]
    assert types(xy, truth, [0, 1])[0][0] != "swap"


def test_as_near_to_all_three_it_is_the_own_one_and_then_the_other_side():
    truth = np.array([[[0.0, 0.0], [20.0, 0.0]], [[20.0, 0.0], [400.0, 0.0]]])
    xy = truth.copy()
    for x, kind in ((10, "good"), (15, "inversion")):
        xy[0, 0] = (x, 0)
        assert types(xy, truth, [0, 0])[0][0] == kind


def test_what_has_no_label_has_no_type_and_no_other_side():
    truth = TRUTH.copy()
    truth[0, 1] = np.nan
    xy = TRUTH.copy()
    xy[0, 0] = (100, 0)
    assert types(xy, truth, [0, 1])[0] == ["miss", ""]


def test_neck_and_head_top_are_measured_as_a_shoulder_is():
    sigmas = dict(zip(MPII_16.keypoints, sigmas_of(MPII_16), strict=True))
    assert sigmas["upper_neck"] == sigmas["head_top"] == sigmas["left_shoulder"] == 0.079


@settings(max_examples=40)
@given(
    arrays.arrays(float, (3, 17, 2), elements=st.floats(0, 300).map(lambda x: round(x, 2))),
    arrays.arrays(float, (3, 17, 2), elements=st.floats(0, 300).map(lambda x: round(x, 2))),
    st.sampled_from([0.25, 0.5, 2.0, 4.0]),
)
def test_types_stay_as_they_are_in_a_mirror_and_at_another_size(xy, truth, zoom):
    as_they_are = types(xy, truth, [0, 0, 1], COCO_17)
    assert types(xy * zoom, truth * zoom, [0, 0, 1], COCO_17, 100 * zoom) == as_they_are
    mirrored = types(*((points * [-1, 1])[:, COCO_17.flip] for points in (xy, truth)), [0, 0, 1], COCO_17)
    assert np.array_equal(np.array(mirrored)[:, COCO_17.flip], as_they_are)


@given(arrays.arrays(float, (1, 17, 2), elements=st.floats(0, 300)))
def test_a_person_whose_left_and_right_are_exchanged_has_no_miss_and_no_swap(truth):
    assert set(types(truth[:, COCO_17.flip], truth, [0], COCO_17)[0]) <= {"good", "jitter", "inversion"}


def standing() -> np.ndarray:
    """COCO's 17 points of a person who faces us, the trunk 100 pixels long; left is on our right."""
    xy = np.tile([200.0, 150.0], (17, 1))
    for part, half, y in (("shoulder", 40, 100), ("hip", 20, 200)):
        xy[COCO_17.index(f"left_{part}")], xy[COCO_17.index(f"right_{part}")] = (200 + half, y), (200 - half, y)
    return xy


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (standing() - 200) @ np.array([[c, s], [-s, c]]) + 200


def dataset(xy: np.ndarray, boxes: np.ndarray, image: list[int], area: float = 1e4) -> Dataset:
    """COCO's people in pictures of 400 x 400."""
    names = np.array(sorted({f"made:{i}" for i in image}), dtype=object)
    text, size = np.full(len(names), "", dtype=object), np.full(len(names), 400)
    table = people(
        COCO_17, person_id=[f"made:{i}" for i in range(len(xy))], image_id=[f"made:{i}" for i in image], source="made",
        xy=xy, v=np.isfinite(xy).all(axis=2) * 2, bbox_xywh=boxes, area=area,
    )  # fmt: skip
    return Dataset("made", Path("made.json"), Images(names, text, text, size, size, text), table)


WITHOUT_TRUNK = [name for name in COCO_17.keypoints if not name.endswith(("shoulder", "hip"))]
MIDDLE = (100.0, 50.0, 200.0, 300.0)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({}, {REST}),
        ({"area": 64.0**2}, {REST}),
        ({"area": 64.0**2 - 1}, {"small"}),
        ({"xy": turned(29)}, {REST}),
        ({"xy": turned(-60)}, {"leaning or lying"}),
        ({"xy": turned(91)}, {"upside down"}),
        ({"xy": standing() * [-1, 1] + [400, 0]}, {"seen from behind"}),
        ({"xy": turned(180)}, {"upside down"}),  # upside down, but seen from the front
        ({"xy": standing() * [0.3, 1] + [140, 0]}, {"seen from the side", REST}),  # shoulders .24 of the trunk apart
        ({"xy": standing() * [0.4, 1] + [120, 0]}, {REST}),  # .32
        ({"box": (0.0, 50.0, 200.0, 300.0)}, {EDGE}),
        ({"box": (100.0, 50.0, 200.0, 349.0)}, {EDGE}),
        ({"box": (100.0, 50.0, 200.0, 348.0)}, {REST}),
        ({"box": (0.0, 50.0, 200.0, 300.0), "made": True}, {REST}),  # a box wider than the person, all labels there
        ({"box": (0.0, 50.0, 200.0, 300.0), "made": True, "unlabelled": ["nose"]}, {EDGE}),
        ({"unlabelled": WITHOUT_TRUNK[:9]}, {REST}),  # 8 labels
        ({"unlabelled": WITHOUT_TRUNK[:10]}, {"few labels"}),
        ({"unlabelled": ["left_hip"]}, {UNKNOWN}),  # nobody can tell that it is none of the hard ones
        ({"unlabelled": ["right_shoulder"], "area": 9.0}, {UNKNOWN, "small"}),
        ({"neighbour": (100.0, 50.0, 200.0, 90.0)}, {REST}),  # it covers .3 of the box, which is not more than .3
        ({"neighbour": (100.0, 50.0, 200.0, 91.0)}, {"crowded"}),
    ],
    ids=lambda value: ", ".join(f"{k}" for k in value) if isinstance(value, dict) else "",
)
def test_kinds_of_people_are_those_worked_by_hand(change, kinds):
    xy = np.stack([change.get("xy", standing())] * 2)
    xy[:, [COCO_17.index(name) for name in change.get("unlabelled", [])]] = np.nan
    boxes = np.array([change.get("box", MIDDLE), change.get("neighbour", (0, 0, 9, 9))], dtype=float)
    made = dataset(xy, boxes, [0, 0], change.get("area", 1e4))
    if change.get("made"):
        made = replace(made, people=replace(made.people, bbox_given=np.zeros(2, dtype=bool)))
    found = cases(made)
    assert {name for name, who in found.items() if who[0]} == {EVERYBODY} | kinds
    assert list(found) == list(told_by(made.people))


@pytest.mark.parametrize(
    ("skeleton", "area", "box_given", "small", "edge"),
    [
        (COCO_17, 1e4, True, "a segment under 64^2 pixels", True),
        (MPII_16, np.nan, False, "a head under 20 pixels", False),
        (LSP_14, np.nan, False, "0.53 of the box around its keypoints under 64^2 pixels", False),
    ],
    ids=["coco", "mpii", "lsp"],
)
def test_how_small_and_the_edge_are_told_depends_on_what_a_dataset_has(skeleton, area, box_given, small, edge):
    one = people(
        skeleton, person_id=["a"], image_id=["a"], source="made", xy=np.arange(2.0 * len(skeleton)).reshape(1, -1, 2),
        v=np.full((1, len(skeleton)), 2), bbox_xywh=np.array([MIDDLE]), bbox_given=box_given, area=area,
    )  # fmt: skip
    told = told_by(one)
    assert told["small"] == small
    assert (told[EDGE] == "its box touches the picture's edge") == edge


def test_a_trunk_without_hips_or_of_no_length_tells_nothing():
    xy = np.stack([standing()] * 2)
    xy[0, COCO_17.index("left_hip")] = np.nan
    xy[1] = (200, 200)
    for told in tilt_and_turn(dataset(xy, np.array([MIDDLE] * 2), [0, 0]).people):
        assert np.isnan(told).all()


def test_a_picture_whose_size_nobody_says_is_measured(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    made = dataset(np.stack([standing()] * 2), np.array([MIDDLE] * 2), [0, 1])
    unknown = replace(
        made.images, width=np.array([-1, 400]), path=np.array([str(tmp_path / "a.png"), ""], dtype=object)
    )
    assert sizes(replace(made, images=unknown)).tolist() == [[30, 20], [400, 400]]


def test_people_of_two_pictures_do_not_crowd_each_other():
    boxes = np.array([MIDDLE, MIDDLE, MIDDLE])
    assert overlap(boxes, np.array([0, 0, 1])).tolist() == [1, 1, 0]


def measured(xy: np.ndarray, truth: Dataset) -> Measured:
    n, text = len(xy), np.full(len(xy), "", dtype=object)
    said = Predictions(
        COCO_17, truth.people.person_id, text, truth.people.image_id, xy, np.ones((n, 17), dtype=bool),
        np.ones((n, 17)), np.ones(n), np.full(n, np.nan),
    )  # fmt: skip
    return Measured("made", ("made 0",), compare(said, truth))


@pytest.fixture
def twelve() -> tuple[Split, Measured]:
    """Twelve people in as many pictures; the first six have left and right exchanged, and no nose."""
    xy = np.stack([standing()] * 12)
    xy[:, 7:11] += np.arange(4)[:, None] * [0, 90]  # elbows and wrists far apart
    xy[:6, 0] = np.nan
    made = dataset(xy, np.array([MIDDLE] * 12), list(range(12)))
    said = np.where(np.arange(12)[:, None, None] < 6, xy[:, COCO_17.flip], xy)
    said[:6, 0] = ([-5, 10], [5, 10], [5, 399], [399, 5], [5, 400], [5, -5])  # three of six in the picture
    return Split("coco/test", made, (), "mean_oks"), measured(said, made)


def test_shares_of_a_group_add_up_and_rest_on_its_labels(twelve):
    by_type = twelve[1].by_type
    assert list(by_type) == ["face", "shoulders", "elbows", "wrists", "hips", "knees", "ankles"]
    for group, row in by_type.items():
        assert sum(share.value for share in row.values()) == pytest.approx(1)
        assert {share.n for share in row.values()} == {54 if group == "face" else 24}
    shoulders = by_type["shoulders"]
    assert (shoulders["good"].value, shoulders["inversion"].value) == (0.5, 0.5)
    assert 0 < shoulders["inversion"].low < 0.5 < shoulders["inversion"].high < 1


def test_keypoints_without_a_label_are_counted_where_they_lie_in_the_picture(twelve):
    split, one = twelve
    share = beyond_edge(split.dataset, one)
    assert (share.value, share.n) == (0.5, 6)


def test_a_kind_with_few_people_has_a_count_and_no_figure(twelve):
    split, one = twelve
    few = np.arange(12) < 9
    found = one.by_case("mean_oks", {EVERYBODY: np.ones(12, dtype=bool), "small": few})
    assert found[EVERYBODY].n == 12 and found["small"].n == 9
    assert found["small"].cell("mean_oks") == "-"
    table = failures.case_table(split, [one])
    assert "| people | told by | n | made |" in table
    assert f"| everybody | who has a label | 12 | {found[EVERYBODY].cell('mean_oks')} |" in table


def test_what_is_common_or_clearly_below_everybody_is_named(twelve):
    split, one = twelve
    worst = dict(failures.named(split, one))
    assert any(name.startswith("inversion of ") for name in worst)
    assert not any(name.startswith(("swap", "small", "crowded")) for name in worst)
    assert Share(0.5, 0.25, 0.75, 4).cell("pck") == "50.0 (25.0 to 75.0)"


def test_a_dataset_without_areas_has_no_type_of_error_named(twelve):
    split, one = twelve
    assert not any(" of " in name.split("(")[0] for name, _ in failures.named(replace(split, name="lsp/test"), one))


@pytest.mark.parametrize("scene", [failure_pictures.photograph(name) for name in ("astronaut", "camera", "grace")])
def test_labels_go_where_the_photograph_goes(scene):
    again = failure_pictures.quarter_turns(scene, 4)
    assert np.array_equal(again.pixels, scene.pixels) and np.array_equal(again.keypoints, scene.keypoints)
    turned = failure_pictures.quarter_turns(scene, 1)
    for (x, y, v), (u, w, _) in zip(scene.keypoints.astype(int), turned.keypoints.astype(int), strict=True):
        assert v == 0 or (turned.pixels[w, u] == scene.pixels[y, x]).all()
    half = failure_pictures.shrunk(scene, int(scene.bbox_xywh[3]) // 2)
    assert half.pixels.shape[0] == pytest.approx(scene.pixels.shape[0] / 2, abs=1)
    there = scene.keypoints[:, 2] > 0
    assert half.keypoints[there, :2] == pytest.approx(scene.keypoints[there, :2] / 2, abs=2)
    assert (half.keypoints[~there] == 0).all()
    short = failure_pictures.cut_off(scene, 200)
    assert len(short.pixels) == 200 and short.bbox_xywh[[1, 3]].sum() <= 200
    assert np.array_equal(short.keypoints[:, 2] > 0, there & (scene.keypoints[:, 1] < 200))
    both = failure_pictures.beside(scene, scene)
    assert both.pixels.shape[1] == 2 * scene.pixels.shape[1]
    assert both.bbox_xywh[2] == scene.pixels.shape[1] + scene.bbox_xywh[2]


def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("kept")
    asked = ["--out", str(tmp_path), "--pictures", str(tmp_path / "pictures")]
    assert failure_pictures.main(asked) == 1
    error = capsys.readouterr().err
    assert "expected a new or empty folder" in error and error.count("\n") == 1
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine.txt", "kept")]


def test_scenes_can_be_written_to_an_empty_folder_and_read(tmp_path):
    scene = failure_pictures.photograph("camera")
    labels = failure_pictures.write_scenes([scene], tmp_path)
    (one,) = formats.read(labels, tmp_path / "images", "coco").people.xy
    there = scene.keypoints[:, 2] > 0
    assert np.array_equal(one[there], scene.keypoints[there, :2])


def test_every_picture_of_the_page_is_there_and_made_here():
    shown = re.findall(r"!\[[^]]+\]\(images/failures-([a-z-]+)\.png\)", PAGE)
    assert sorted(shown) == sorted(failure_pictures.PICTURES)
    for name in shown:
        assert (ROOT / "docs" / "images" / f"failures-{name}.png").stat().st_size < 250_000


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
def test_a_cards_failures_are_the_pages(card):
    digest = file_sha256(ROOT / "models" / "weights" / card.file)
    (said,) = re.findall(rf"^### Known failures of {card.name} {digest[:12]} .*?\n\n((?:- .*\n?)+)", PAGE, re.MULTILINE)
    assert card.failures == tuple(line.removeprefix("- ") for line in said.splitlines())
