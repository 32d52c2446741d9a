"""The benchmarks of training, for a moment and on dots: that they compare what they say, not how fast it is."""

from __future__ import annotations

import json

import pytest
import tomli_w

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from torch.utils.data import default_collate

from annotator import formats
from annotator.formats.dataset import Dataset
from annotator.skeletons import COCO_17, UNION_21
from benchmarks import online_teachers, training_speed
from models import hooks
from models.dataset import PeopleSet
from models.network import UnionPose
from tests.models.made import CHANNEL, dot_teacher, dotted

pytestmark = pytest.mark.slow

DRAWN = UNION_21.indices(CHANNEL)


def test_online_teachers_see_the_dot_where_the_augmentation_put_it(dots_set, tmp_path):
    people, net = PeopleSet(str(dots_set)), dot_teacher(tmp_path)
    # Dots keep their colour in a mirror image, so left and right would not change sides as a person's do.
    how = {"flip": 0.0, "colour": 0.0, "blank": 0.0}
    prepare = online_teachers.Online([net], info=people.info, size_hw=(64, 48), split=4.0, augmentation=how)
    made = prepare(default_collate([people[row] for row in range(8)]), training=True)["targets"]
    (said, sure), (labels, there) = made["teachers"]["dots"], made["labels"]
    both = there[:, DRAWN] > 0
    assert both.sum() > 12 and (sure[:, DRAWN][both] > 0.4).all()
    for axis in range(2):
        # Four bins a pixel of a crop that is smaller than the teacher's: within a pixel.
        apart = (said[axis].argmax(dim=-1) - labels[axis].argmax(dim=-1))[:, DRAWN][both]
        assert apart.abs().max() <= 4
    unknown = [k for k in range(21) if k not in DRAWN]
    assert not sure[:, unknown].any()


def test_online_teachers_of_a_mirrored_person_speak_about_the_side_that_they_see(dots_set, tmp_path):
    people, net = PeopleSet(str(dots_set)), dot_teacher(tmp_path)
    how = {"flip": 1.0, "colour": 0.0, "blank": 0.0}
    prepare = online_teachers.Online([net], info=people.info, size_hw=(128, 96), augmentation=how)
    made = prepare(default_collate([people[row] for row in range(8)]), training=True)["targets"]
    (said, _), (labels, there) = made["teachers"]["dots"], made["labels"]
    # Mirrored, the dot of a left wrist belongs to what is called the right one; this teacher calls it left still.
    right, left = UNION_21.index("right_wrist"), UNION_21.index("left_wrist")
    both = there[:, right] > 0
    apart = (said[0][:, left].argmax(dim=-1) - labels[0][:, right].argmax(dim=-1))[both]
    assert both.sum() > 4 and apart.abs().max() <= 3


def test_cached_and_online_teachers_train_the_same_student(dots_set, tmp_path, students, capsys):
    card = dot_teacher(students).card
    (students / "dots.toml").write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    torch.manual_seed(0)
    network = UnionPose("tiny", (64, 64), 21, {}, split=4.0, locate=1.0)
    network.init_weights()
    saved = {"state_dict": network.state_dict(), "size": "tiny", "size_hw": (64, 64), "split": 4.0}
    torch.save(saved | {"keypoints": list(UNION_21.keypoints)}, tmp_path / "weights.pth")
    command = ["--set", str(dots_set), "--check", str(dots_set), "--init", str(tmp_path / "weights.pth")]
    command += ["--recipe", "rtmpose_t_low", "--batch", "4", "--steps", "2"]
    command += ["--set-recipe", "size_hw=(64,64)"]
    capsys.readouterr()
    assert online_teachers.main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert min(said["images_per_s"].values()) > 0 and 0 < said["share_of_an_online_step_for_teachers"] < 1
    assert (said["steps"], said["people_checked"]) == (4, 16)
    for name, (value, low, high) in said["cached_minus_online"].items():
        assert value == pytest.approx(said["cached"][name] - said["online"][name], abs=2e-4)
        assert low <= high and said["start"][name] >= 0


def test_ours_and_mmposes_step_are_timed_on_the_same_people(dots_set, tmp_path, capfd):
    images, people = dotted(tmp_path / "coco", 4, COCO_17, source="coco")
    formats.write(tmp_path / "coco.json", Dataset("coco", tmp_path / "coco.json", images, people), "coco")
    command = ["--set", str(dots_set), "--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path / "coco"),
               "--batch", "4", "--steps", "1", "--repeat", "1", "--workers", "0", "--no-compiled"]  # fmt: skip
    training_speed.main([*command, "--networks", *training_speed.RECIPES])
    said = json.loads(capfd.readouterr().out)
    for name in ("lite0", "lite2", "tiny"):
        ours, theirs = said[name]["ours"], said[name]["mmpose, 0 workers"]
        assert min(*ours.values(), *theirs.values()) > 0
        # Of one turn, which is its own median.
        ratio = ours["step_images_per_s"] / theirs["step_images_per_s"]
        assert said[name]["ratio"]["step"] == pytest.approx(dict.fromkeys(("median", "least", "most"), ratio), rel=0.03)


def test_what_is_switched_off_is_off_and_the_rest_is_as_the_recipe_says(dots_set, tmp_path, monkeypatch):
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(hooks, "hasten", lambda *_, **how: asked.append(how))
    for changes in ({}, {"keep_memory": False, "amp": True}):
        side, _ = training_speed.ours("tiny", dots_set, 4, tmp_path, changes)
        assert side.model.amp or not changes
    assert asked == [{"compiled": True, "keep_memory": True}, {"compiled": True, "keep_memory": False}]
