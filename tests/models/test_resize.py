"""Starting from other weights: what interpolating a head keeps, and which weights are refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import InputError
from models.network import UnionPose
from models.resize import AXES, CELLS, imagenet, resize_head, starting_point

LOW, FULL = (64, 64), (128, 128)
NAMES = ["nose", "left_eye", "right_eye"]


def student(size_hw=LOW, keypoints: int = 3, **how) -> UnionPose:
    return UnionPose("tiny", size_hw, keypoints, {}, **how).eval()


def saved(folder, network: UnionPose, size_hw=LOW):
    """What a run leaves behind, as far as starting from it goes."""
    path = folder / "weights.pth"
    torch.save({"state_dict": network.state_dict(), "size_hw": size_hw, "keypoints": NAMES}, path)
    return path


def test_one_resolution_is_left_as_it_is():
    state = student().state_dict()
    out = resize_head(state, LOW, LOW, state)
    assert all(out[name] is state[name] for name in state)


def test_only_the_three_layers_that_know_the_resolution_change():
    low, full = student().state_dict(), student(FULL).state_dict()
    out = resize_head(low, LOW, FULL, full)
    assert {name for name in low if out[name] is not low[name]} == {CELLS, *AXES}
    assert all(out[name].shape == full[name].shape for name in full)


def test_a_constant_map_gives_the_same_tokens_at_both_resolutions():
    low = student()
    full = student(FULL)
    full.load_state_dict(resize_head(low.state_dict(), LOW, FULL, full.state_dict()))
    # 2 x 2 cells and 4 x 4 cells of the same value: the sum over the map is kept.
    values = torch.tensor([0.5, -1.0, 2.0])
    tokens = [net.head.mlp(values[None, :, None].expand(1, 3, cells)) for net, cells in ((low, 4), (full, 16))]
    assert tokens[0].detach().numpy() == pytest.approx(tokens[1].detach().numpy(), abs=1e-5)


def test_a_cells_weight_goes_to_the_cells_that_cover_it():
    # One hidden unit that looks at the upper left of 2 x 2 cells: of 4 x 4 cells the upper left four get most.
    out = resize_head({CELLS: torch.tensor([[1.0, 0, 0, 0]])}, LOW, FULL, {CELLS: torch.zeros(1, 16)})
    grown = out[CELLS].reshape(4, 4)
    assert grown.sum().item() == pytest.approx(1)
    # Bilinear about (0, 0): 1, 3/4, 1/4, 0 along each side, over 4 since 16 cells stand for 4.
    side = torch.tensor([1, 0.75, 0.25, 0])
    assert grown.numpy() == pytest.approx((side[:, None] * side / 4).numpy(), abs=1e-6)


def test_a_peak_stays_where_it_was():
    # Two bins a pixel: 128 bins of 64 pixels become 256 of 128. Bin b is bin 2 b there, and those between are means.
    low, full = student().head.cls_x, student(FULL).state_dict()
    out = resize_head({AXES[0]: low.weight}, LOW, FULL, full)[AXES[0]]
    tokens = torch.randn(50, 256, generator=torch.Generator().manual_seed(0))
    before, after = (tokens @ low.weight.T).argmax(dim=1), (tokens @ out.T).argmax(dim=1)
    assert torch.equal(after, 2 * before)
    assert torch.allclose(out[1:-1:2], (out[:-2:2] + out[2::2]) / 2)


def test_half_the_pixels_with_twice_the_bins_each_keep_their_bins():
    low, full = student(split=4.0).state_dict(), student(FULL, split=2.0).state_dict()
    out = resize_head(low, LOW, FULL, full)
    assert all(out[name] is low[name] for name in AXES)


def test_starting_from_the_same_network_changes_nothing(tmp_path):
    network = student(locate=1.0)
    path = starting_point(saved(tmp_path, network), LOW, student(locate=1.0).state_dict(), tmp_path / "init.pth", NAMES)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_map_starts_anew_where_there_was_none(tmp_path):
    network, own = student(), student(locate=1.0).state_dict()
    path = starting_point(saved(tmp_path, network), LOW, own, tmp_path / "init.pth", NAMES)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert set(state) == set(own)
    assert torch.equal(state["head.final_layer.weight"], network.state_dict()["head.final_layer.weight"])
    assert all(torch.equal(state[name], own[name]) for name in own if name.startswith("locator."))


def test_a_map_that_was_trained_is_not_left_out(tmp_path):
    path = saved(tmp_path, student(locate=1.0))
    with pytest.raises(InputError, match=r"expected weights of the recipe's network, got another locator"):
        starting_point(path, LOW, student().state_dict(), tmp_path / "init.pth", NAMES)


def test_imagenet_is_known_to_some_sizes_only(tmp_path):
    with pytest.raises(InputError, match="imagenet: expected a recipe of size lite0 or lite2, got tiny"):
        imagenet("tiny", student().state_dict(), tmp_path / "init.pth")


def test_weights_whose_keypoints_are_in_another_order_are_refused(tmp_path):
    path = saved(tmp_path, student())
    with pytest.raises(InputError, match="expected the keypoints right_eye, left_eye, nose, got nose, left_eye"):
        starting_point(path, LOW, student().state_dict(), tmp_path / "init.pth", NAMES[::-1])


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"weights\.pth: expected the weights of a finished run, got no such file"):
        starting_point(tmp_path / "weights.pth", LOW, {}, tmp_path / "init.pth", NAMES)


@pytest.mark.parametrize("other", [{"keypoints": 4}, {"size": "small"}], ids=["more-keypoints", "another-size"])
def test_weights_of_another_network_are_refused(tmp_path, other):
    kind = {"size": "tiny", "keypoints": 3} | other
    path = saved(tmp_path, UnionPose(kind["size"], LOW, kind["keypoints"], {}))
    with pytest.raises(InputError, match="expected weights of the recipe's network, got another"):
        starting_point(path, LOW, student().state_dict(), tmp_path / "init.pth", NAMES)
    assert not (tmp_path / "init.pth").exists()
