"""The student: shapes, size, the paper's loss over its outputs, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import InputError
from models.dataset import PeopleSet
from models.locator import fused
from models.network import UnionPose
from models.preprocess import Preprocessor

BETA = {"dots": 0.45}


def student(size_hw=(64, 64), seed: int = 0, **how) -> UnionPose:
    torch.manual_seed(seed)
    network = UnionPose("tiny", size_hw, 21, how.pop("beta", BETA), **how)
    network.init_weights()
    return network


def batch_of(dots_set, rows, size_hw=(64, 64), split: float = 2.0):
    """An unmoved batch with its targets."""
    people = PeopleSet(str(dots_set))
    plain = Preprocessor(people.info, size_hw, split, {"flip": 0, "scale": (1, 1), "rotate": 0, "shift": 0,
                                                       "half_body": 0, "colour": 0, "blank": 0})  # fmt: skip
    return plain(torch.utils.data.default_collate([people[i] for i in rows]), training=True)


@pytest.fixture(scope="module")
def batch(dots_set):
    """Four people of each dataset."""
    return batch_of(dots_set, [0, 1, 2, 3, 8, 9, 10, 11])


@pytest.mark.parametrize(("size_hw", "split"), [((256, 192), 2.0), ((128, 96), 4.0)], ids=["full", "half"])
def test_outputs_are_bins_of_both_axes(size_hw, split):
    with torch.no_grad():
        x, y = student(size_hw, split=split).eval()(torch.zeros(2, 3, *size_hw))
    assert (x.shape, y.shape) == ((2, 21, size_hw[1] * split), (2, 21, size_hw[0] * split))


def test_the_tiny_student_is_as_large_as_rtmpose_t():
    # MMPose's RTMPose-t has 3.34 million parameters with 17 keypoints; a keypoint more is one more 7 x 7 x 384 filter.
    parameters = sum(p.numel() for p in student((256, 192)).parameters())
    assert parameters == pytest.approx(3.34e6 + 4 * 49 * 384, rel=0.01)


def test_it_learns_eight_people_by_heart(dots_set):
    batch = batch_of(dots_set, range(8), (128, 96), 4.0)
    network = student((128, 96), split=4.0, locate=1.0).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(15):
        parts = network(batch["inputs"], mode="loss", targets=batch["targets"])
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(parts["loss"].item())
    assert losses[-1] < 0.75 * losses[0]


def test_the_loss_is_equation_8_of_its_parts(batch):
    parts = student()(batch["inputs"], mode="loss", targets=batch["targets"])
    assert set(parts) == {"loss", "labels", "dots"}
    expected = 0.3 * parts["labels"] + 0.7 * 0.45 * parts["dots"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert not parts["labels"].requires_grad and parts["loss"].requires_grad


@pytest.mark.parametrize("beta", [{}, {"dots": 0.0}], ids=["unnamed", "zero"])
def test_a_teacher_without_weight_is_not_heard(batch, beta):
    parts = student(beta=beta)(batch["inputs"], mode="loss", targets=batch["targets"])
    assert parts["loss"].item() == pytest.approx(0.3 * parts["labels"].item(), rel=1e-6)
    assert set(parts) == {"loss", "labels"}


@pytest.mark.parametrize("form", ["simcc", "squared"])
def test_only_labels_and_known_teachers_move_a_keypoint(dots_set, form):
    """Of a COCO person: pelvis and head top get nothing, the knee its label, an unlabelled wrist the teacher's word."""
    people = PeopleSet(str(dots_set))
    batch = batch_of(dots_set, [0])
    pelvis, top, knee, wrist = map(people.info["keypoints"].index, ("pelvis", "head_top", "left_knee", "right_wrist"))
    batch["targets"]["labels"][1][:, wrist] = 0
    network = student(form=form)
    predicted = tuple(axis.detach().requires_grad_() for axis in network(batch["inputs"]))
    network.compare(predicted, None, batch["targets"])["loss"].backward()
    for axis in predicted:
        moved = (axis.grad[0] != 0).any(dim=1)
        assert [bool(moved[k]) for k in (pelvis, top, knee, wrist)] == [False, False, True, True]
        assert int(moved.sum()) == 17


def test_squared_form_trains_the_labels_by_distance(batch):
    network = student(form="squared").train()
    parts = network(batch["inputs"], mode="loss", targets=batch["targets"])
    # An untrained network's mean is the middle of 64 x 64; labels lie some pixels off, squared and summed over 2 axes.
    weight = batch["targets"]["labels"][1]
    apart = ((torch.nan_to_num(batch["targets"]["xy"]) - 31.75) ** 2).sum(dim=-1)
    expected = (apart * weight).sum(dim=1).mean() / 21
    assert parts["labels"].item() == pytest.approx(expected.item(), rel=0.05)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="form: expected one of simcc, squared, got 'Squared'"):
        student(form="Squared")


def test_the_answer_is_the_head_s_times_the_map_s(batch):
    network = student(locate=1.0).eval()
    with torch.no_grad():
        answer, maps = network.look(batch["inputs"])
        alone = network.head.axes(network.head.tokens(network.backbone(batch["inputs"])[-1]))
    assert maps.shape == (8, 21, 16, 16)
    for whole, part, seen in zip(answer, alone, (maps.exp().sum(dim=2), maps.exp().sum(dim=3)), strict=True):
        # Between the middles of cells bins are interpolated: at a middle (between its fourth and fifth bin) they agree.
        added = (whole - part).unflatten(2, (16, 8))[..., 3:5].mean(dim=-1)
        wanted = seen.log() - maps.exp().sum(dim=(2, 3)).log()[..., None]
        assert torch.allclose(added[..., 1:-1], wanted[..., 1:-1], atol=0.02)


def test_the_loss_sees_the_answer_and_the_map_by_itself(batch):
    without, light, heavy = (student(locate=locate).eval() for locate in (0.0, 1.0, 2.0))
    told = [network(batch["inputs"], mode="loss", targets=batch["targets"])["labels"] for network in (light, heavy)]
    assert without.locator is None and told[1] > told[0]
    parts = light.train()(batch["inputs"], mode="loss", targets=batch["targets"])
    parts["loss"].backward()
    assert all(bool((p.grad != 0).any()) for p in light.locator.parameters())
    # A map without a loss of its own learns from the answer's.
    only = student(locate=0.0, prompt=True).train()
    only(batch["inputs"], mode="loss", targets=batch["targets"])["loss"].backward()
    assert all(bool((p.grad != 0).any()) for p in only.locator.parameters())


def test_between_cells_bins_are_as_torch_interpolates_them():
    cells = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))
    for bins in (12, 96, 192):
        wanted = torch.nn.functional.interpolate(cells, bins, mode="linear", align_corners=False)
        axes = (torch.zeros(3, 5, bins), torch.zeros(3, 5, bins))
        # Maps whose marginals are these cells, on both axes, up to a constant.
        maps = cells[..., None, :] + torch.full((12, 1), -1e4).index_fill(0, torch.tensor([0]), 0.0)
        found = fused(axes, maps)[0]
        assert torch.allclose(found - found[..., :1], wanted - wanted[..., :1], atol=1e-4)


def test_a_map_needs_whole_bins_in_its_cells():
    with pytest.raises(InputError, match=r"the map: expected a whole number of bins in 4 pixels, got split 1\.9"):
        student(split=1.9, locate=1.0)


def test_an_unknown_size_is_refused():
    with pytest.raises(InputError, match="size: expected one of tiny, small, lite0, lite2, got lite"):
        UnionPose("lite", (64, 64), 21, BETA)


def test_names_of_weights_stay_what_saved_students_have():
    names = set(student(locate=1.0).state_dict())
    assert {"backbone.stem.0.conv.weight", "backbone.stage4.2.blocks.0.conv2.pointwise_conv.conv.weight",
            "head.final_layer.weight", "head.mlp.1.weight", "head.gau.uv.weight", "head.cls_x.weight",
            "head.cls_y.weight", "locator.out.weight"} <= names  # fmt: skip
    assert {name.split(".")[0] for name in names} == {"backbone", "head", "locator"}


def test_mixed_precision_trains_the_backbone_in_16_bits_and_says_about_the_same(batch):
    full, mixed = student(locate=1.0).train(), student(locate=1.0, amp=True).train()
    a, b = (network(batch["inputs"], mode="loss", targets=batch["targets"]) for network in (full, mixed))
    assert b["loss"].item() == pytest.approx(a["loss"].item(), rel=0.02)
    assert b["loss"].item() != a["loss"].item()
    b["loss"].backward()
    assert all(bool(torch.isfinite(p.grad).all()) and p.grad.dtype == torch.float32 for p in mixed.parameters())


def test_mixed_precision_is_for_training_only(batch):
    full, mixed = student().eval(), student(amp=True).eval()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(full(batch["inputs"]), mixed(batch["inputs"]), strict=True))


def test_checking_gives_the_outputs_and_the_batch(batch):
    network = student().eval()
    with torch.no_grad():
        (((x, y), given),) = network(batch["inputs"], mode="predict", row=batch["row"])
    assert (x.shape, y.shape) == ((8, 21, 128), (8, 21, 128))
    assert np.array_equal(given["row"], [0, 1, 2, 3, 8, 9, 10, 11])
