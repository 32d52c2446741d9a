"""Reading a training set: what comes out, which people, and sets that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmengine", reason="needs the train extra")

from mmengine.runner import Runner

from annotator.errors import FormatError
from models import dataset
from models.dataset import PeopleSet
from models.recipe import load_recipe, runner_config
from tests.models.made import CHANNEL, centroid


def test_a_row_is_a_person_with_crop_labels_and_teachers(dots_set):
    people = PeopleSet(str(dots_set))
    assert len(people) == 16
    row = people[9]
    shapes = {name: tuple(value.shape) for name, value in row.items() if name != "row"}
    assert shapes == {
        "crop": (320, 240, 3), "at": (), "dataset": (), "affine": (2, 3), "xy": (21, 2), "v": (21,), "scale_px": (),
        "teacher_xy": (1, 21, 2, 2), "teacher_share": (1, 21, 2), "teacher_score": (1, 21), "teacher_sigma": (1, 21),
    }  # fmt: skip
    assert (row["row"], int(row["dataset"]), row["crop"].dtype) == (9, 1, torch.uint8)


@pytest.mark.parametrize("decoded_bytes", [0, 1 << 30], ids=["decoded-when-asked", "decoded-once"])
def test_a_whole_batch_is_its_rows_together(dots_set, monkeypatch, decoded_bytes):
    monkeypatch.setattr(dataset, "DECODED_BYTES", decoded_bytes)
    people = PeopleSet(str(dots_set), subset=2)
    assert (people.crops is not None) == bool(decoded_bytes)
    whole, rows = people.batch([5, 0]), torch.utils.data.default_collate([people[5], people[0]])
    assert set(whole) == set(rows)
    assert all(torch.equal(whole[name].double().nan_to_num(), rows[name].double().nan_to_num()) for name in whole)
    assert (whole["at"].tolist(), whole["row"].tolist()) == ([5, 0], [10, 0])


def test_a_crop_is_rgb_and_shows_the_labelled_dots(dots_set):
    people = PeopleSet(str(dots_set))
    for name in ("nose", "right_wrist"):
        row, k = people[0], people.info["keypoints"].index(name)
        landed = row["affine"].numpy() @ [*row["xy"][k].tolist(), 1]
        assert centroid(row["crop"][..., CHANNEL[name]].numpy()) == pytest.approx(landed, abs=0.5)


def test_crops_decoded_on_request_are_those_decoded_at_once(dots_set, monkeypatch):
    at_once = PeopleSet(str(dots_set))
    monkeypatch.setattr(dataset, "DECODED_BYTES", 0)
    on_request = PeopleSet(str(dots_set))
    assert at_once.crops is not None and on_request.crops is None
    assert all(torch.equal(at_once[i]["crop"], on_request[i]["crop"]) for i in range(16))


def test_too_many_crops_to_be_held_are_decoded_by_workers_and_come_in_the_same_order(dots_set, tmp_path, monkeypatch):
    recipe = load_recipe("rtmpose_t_low", {"beta": {"dots": 0.45}, "batch": 4})
    batches = {}
    for name, decoded_bytes in (("held", 1 << 30), ("not held", 0)):
        monkeypatch.setattr(dataset, "DECODED_BYTES", decoded_bytes)
        config = runner_config(recipe, dots_set, None, tmp_path).train_dataloader
        assert bool(config.num_workers) == (name == "not held")
        batches[name] = list(Runner.build_dataloader(config, seed=0))
    assert len(batches["held"]) == len(batches["not held"]) == 4
    for here, there in zip(*batches.values(), strict=True):
        assert all(torch.equal(here[column], there[column]) for column in ("row", "crop"))


@pytest.mark.parametrize(
    ("which", "rows", "count"),
    [
        ({"subset": 3}, [0, 3, 6, 9, 12, 15], {"coco": 3, "mpii": 3}),
        ({"datasets": ["mpii"]}, [8, 9, 10, 11, 12, 13, 14, 15], {"mpii": 8}),
        ({"subset": 5, "datasets": ["coco"]}, [0, 5], {"coco": 2}),
    ],
    ids=["every-third", "one-dataset", "both"],
)
def test_a_part_of_the_people_can_be_had(dots_set, which, rows, count):
    people = PeopleSet(str(dots_set), **which)
    assert people.count() == count
    assert [int(people[i]["row"]) for i in range(len(people))] == rows
    whole = PeopleSet(str(dots_set))
    assert torch.equal(people[1]["crop"], whole[rows[1]]["crop"])
    assert np.array_equal(people[1]["xy"], whole[rows[1]]["xy"], equal_nan=True)


def test_a_dataset_that_the_set_lacks_is_refused(dots_set):
    with pytest.raises(FormatError, match="datasets: expected datasets among coco, mpii, got lsp"):
        PeopleSet(str(dots_set), datasets=["lsp"])


def other_version(folder: Path) -> None:
    info = json.loads((folder / "set.json").read_text())
    (folder / "set.json").write_text(json.dumps(info | {"version": 2}))


def cut(name: str, share: float) -> Callable[[Path], None]:
    """Cuts a file to a share of its length."""

    def apply(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return apply


def garbled(folder: Path) -> None:
    """The crops as long as before, the first without its beginning."""
    data = bytearray((folder / "crops.bin").read_bytes())
    data[:64] = bytes(64)
    (folder / "crops.bin").write_bytes(data)


def of_another_set(folder: Path) -> None:
    with np.load(folder / "arrays.npz") as arrays:
        fewer = {name: arrays[name][:-1] for name in arrays.files}
    np.savez(folder / "arrays.npz", **fewer)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (other_version, r"set\.json: expected a training set of version 1, got 2"),
        (lambda folder: (folder / "set.json").unlink(), r"set\.json: expected .*written last.*got no such file"),
        (cut("set.json", 0.5), r"set\.json: expected JSON, got "),
        (cut("arrays.npz", 0.5), r"arrays\.npz: expected the arrays of a training set, got "),
        (of_another_set, r"arrays\.npz: expected 16 people, as set\.json says, got 15"),
        (cut("crops.bin", 0.9), r"crops\.bin: expected \d+ bytes of crops, got \d+"),
        (lambda folder: (folder / "crops.bin").unlink(), r"crops\.bin: expected \d+ bytes of crops, got 0"),
        (garbled, r"crops\.bin: expected a crop of \(320, 240\) for person 0, got no picture"),
    ],
    ids=["version", "unfinished", "half-json", "half-arrays", "other-arrays", "half-crops", "no-crops", "garbled"],
)
def test_a_set_that_is_not_whole_is_refused_in_one_line(dots_set, tmp_path, harm, message):
    folder = tmp_path / "set"
    shutil.copytree(dots_set, folder)
    harm(folder)
    with pytest.raises(FormatError, match=message) as caught:
        PeopleSet(str(folder))
    assert "\n" not in str(caught.value)
