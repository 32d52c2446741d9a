"""What a training is checked by, against numbers worked by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.skeletons import UNION_21
from models import dataset, openmm_compat
from models.dataset import PeopleSet
from models.hooks import HastenHook, KeepHook, UnionMetric

NECK, TOP = UNION_21.index("upper_neck"), UNION_21.index("head_top")
INFO = {"keypoints": UNION_21.keypoints, "oks_sigmas": UNION_21.oks_sigmas, "datasets": ["coco", "mpii"]}


def checked(info, dataset, error_px, labelled=21):
    """The metric of people whose every keypoint is read `error_px` right of its label, in crops twice as large."""
    n, k = len(dataset), len(info["keypoints"])
    xy = np.tile([40.0, 60.0], (n, k, 1))
    if k == 21:
        xy[:, NECK], xy[:, TOP] = (50, 40), (50, 20)
    v = np.zeros((n, k), dtype=np.uint8)
    v[:, k - labelled :] = 2
    raw = [torch.zeros(n, k, bins) for bins in (4 * 160, 4 * 160)]
    for i in range(n):
        for j in range(k):
            for axis in range(2):
                read = xy[i, j, axis] + (error_px[i] if axis == 0 else 0)
                # Two crop pixels a picture pixel, two bins a crop pixel.
                raw[axis][i, j, int(4 * read)] = 50
    truth = {"xy": np.where(v[..., None] > 0, xy, np.nan), "v": v, "scale_px": np.full(n, 100.0), "dataset": dataset}
    affine = torch.tensor([[[2.0, 0, 0], [0, 2, 0]]]).repeat(n, 1, 1)
    batch = {"affine": affine, "truth": {name: torch.as_tensor(column) for name, column in truth.items()}}
    metric = UnionMetric(info, split=2.0)
    metric.process(None, [(tuple(raw), batch)])
    return metric.compute_metrics(metric.results)


def test_oks_and_pckh_are_means_over_the_people_of_each_dataset():
    found = checked(INFO, np.array([0, 0, 1]), [0, 10, 5])
    # OKS of a keypoint 10 px off at scale 100: exp(-10^2 / (2 (2 sigma 100)^2)); of one that is right, 1.
    off = np.exp(-100 / (2 * (200 * np.array(UNION_21.oks_sigmas)) ** 2)).mean()
    assert found["coco/oks"] == pytest.approx((1 + off) / 2, abs=1e-3)
    # Head .75 x 20 = 15 px, half of it 7.5: 10 px off misses, 5 px off hits.
    assert (found["coco/pckh"], found["mpii/pckh"]) == (0.5, 1.0)


@pytest.mark.parametrize(("labelled", "names"), [(7, {"coco/pckh"}), (8, {"coco/pckh", "coco/oks"})])
def test_people_with_fewer_than_eight_labels_have_no_oks(labelled, names):
    assert set(checked(INFO, np.array([0]), [0], labelled)) == names


def test_a_skeleton_without_a_head_axis_has_no_pckh():
    names = UNION_21.keypoints[:17]
    info = INFO | {"keypoints": names, "oks_sigmas": UNION_21.oks_sigmas[:17]}
    assert set(checked(info, np.array([1]), [0], 17)) == {"mpii/oks"}


@pytest.mark.parametrize(("device", "decoded_bytes", "kept"), [
    ("meta", 1 << 30, True), ("cpu", 1 << 30, False), ("meta", 0, False),
], ids=["elsewhere", "here", "too many"])  # fmt: skip
def test_crops_are_kept_where_the_network_trains(dots_set, monkeypatch, device, decoded_bytes, kept):
    monkeypatch.setattr(dataset, "DECODED_BYTES", decoded_bytes)
    people, prepare = PeopleSet(str(dots_set)), SimpleNamespace(device=torch.device(device), crops=None)
    model = SimpleNamespace(data_preprocessor=prepare)
    KeepHook().before_train(SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=people)))
    assert people.with_crops is not kept and ("crop" in people[0]) is not kept
    assert not kept or (prepare.crops.shape, prepare.crops.device.type) == ((16, 320, 240, 3), device)


def test_a_check_is_not_compiled():
    graphs: list[int] = []

    def count(graph, _):
        graphs.append(1)
        return graph.forward

    double, hook = torch.compile(lambda x: x * 2, backend=count), HastenHook((64, 64), compiled=True, keep_memory=False)
    hook.before_val(None)
    assert double(torch.ones(1)).item() == 2 and not graphs
    hook.after_val(None)
    assert double(torch.ones(1)).item() == 2 and graphs


def test_stand_ins_for_what_mmpose_imports_refuse_to_be_used():
    openmm_compat.prepare()
    before = dict(sys.modules)
    openmm_compat.prepare()
    assert sys.modules == before
    operators = sys.modules["mmcv._ext"]
    if isinstance(operators, openmm_compat._Absent):
        with pytest.raises(RuntimeError, match="nms: expected mmcv with compiled operators, got mmcv-lite"):
            operators.nms()
