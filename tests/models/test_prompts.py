"""Known keypoints as prompts: how they are drawn in training, and what the network makes of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import onnx_file
from models.network import UnionPose
from models.prompts import Giving, Prior, Prompts, draw, split_given

SIZE_WH = (48, 64)
FLIP = torch.tensor([0, 2, 1])
EXACT = Giving(all=0, worst=0, jitter_px=0, wrong=0)


def known(n: int = 400) -> torch.Tensor:
    """N people with keypoints at (10, 20), (30, 40) and nowhere."""
    return torch.tensor([[10.0, 20.0], [30.0, 40.0], [np.nan, np.nan]]).repeat(n, 1, 1)


def drawn(how: Giving, n: int = 400, seed: int = 0, off: float = 0.0) -> np.ndarray:
    """What is given of people whose second keypoint the picture puts `off` pixels beside."""
    placed = torch.nan_to_num(known(n)) + torch.tensor([[0.0, 0.0], [off, 0.0], [0.0, 0.0]])
    return draw(known(n), placed, FLIP, SIZE_WH, how, np.random.default_rng(seed)).numpy()


def test_what_is_given_is_what_is_known():
    given = drawn(EXACT)
    there = np.isfinite(given).all(axis=2)
    assert not there[:, 2].any()
    assert np.array_equal(given[there], known().numpy()[there])


@pytest.mark.parametrize(("how", "low", "high"), [
    (EXACT, 0.37, 0.43),  # uniform to the power of 1.5: 1 / 2.5
    (Giving(all=1, worst=0, jitter_px=0, wrong=0), 0.87, 0.93),  # uniform from .8 to all
], ids=["any share", "a labelled person"])  # fmt: skip
def test_how_many_are_given(how, low, high):
    assert low < np.isfinite(drawn(how, 2000)[:, :2]).all(axis=2).mean() < high


def test_a_reviewer_corrects_what_lies_farthest_off():
    # Two keypoints are known; one to three of the worst are given: the far one always, the other one in 2 of 3.
    there = np.isfinite(drawn(Giving(all=0, worst=1, jitter_px=0, wrong=0), 3000, off=20)).all(axis=2)
    assert there[:, 1].all() and not there[:, 2].any()
    assert 0.63 < there[:, 0].mean() < 0.71


def test_a_third_of_the_people_has_moved_prompts():
    given = drawn(Giving(all=1, worst=0, jitter_px=3, wrong=0), 3000)[:, 0]
    off = np.linalg.norm(given - [10, 20], axis=1)[np.isfinite(given).all(axis=1)]
    assert 0.3 < (off > 0).mean() < 0.37
    # Each axis moves by a normal of 3 pixels: root mean square distance 3 * sqrt(2).
    assert np.sqrt((off[off > 0] ** 2).mean()) == pytest.approx(3 * np.sqrt(2), rel=0.1)


def test_wrong_prompts_of_one_of_two_sides_lie_on_the_other_one_half_of_the_time():
    both = torch.tensor([[10.0, 20.0], [30.0, 40.0], [16.0, 12.0]]).repeat(2000, 1, 1)
    how = Giving(all=1, worst=0, jitter_px=0, wrong=1)
    given = draw(both, both, FLIP, SIZE_WH, how, np.random.default_rng(0)).numpy()
    for side, other in ((1, 2), (2, 1)):
        there = given[np.isfinite(given[:, side]).all(axis=1), side]
        assert 0.46 < (there == both[0, other].numpy()).all(axis=1).mean() < 0.54
        assert not (there == both[0, side].numpy()).all(axis=1).any()


def test_wrong_prompts_lie_elsewhere_where_the_other_side_is_not_known():
    given = drawn(Giving(all=1, worst=0, jitter_px=0, wrong=1), 2000)[:, 1]
    given = given[np.isfinite(given).all(axis=1)]
    # Its other side is keypoint 2, which nobody knows: only those moved by .1 to .5 of 48 pixels are left.
    off = np.linalg.norm(given - [30, 40], axis=1)
    assert off.min() >= 4.8 - 1e-4
    assert off.max() <= 24 + 1e-4


def test_the_same_seed_draws_the_same():
    assert np.array_equal(drawn(Giving(), seed=3), drawn(Giving(), seed=3), equal_nan=True)


def prompted(seed: int = 0) -> UnionPose:
    torch.manual_seed(seed)
    network = UnionPose("tiny", (64, 64), 21, {"dots": 0.45}, prompt=True)
    network.init_weights()
    return network.eval()


def test_with_nothing_given_nothing_changes():
    network, pixels = prompted(), torch.randn(2, 3, 64, 64)
    bare = UnionPose("tiny", (64, 64), 21, {"dots": 0.45}, locate=1.0).eval()
    own = bare.state_dict()
    bare.load_state_dict({name: value for name, value in network.state_dict().items() if name in own})
    nothing = (torch.rand(2, 21, 2) * 64, torch.zeros(2, 21))
    with torch.no_grad():
        for wanted, said, told in zip(bare(pixels), network(pixels), network(pixels, *nothing), strict=True):
            assert torch.equal(wanted, said) and torch.equal(wanted, told)


def test_what_is_given_stands_where_it_was_given():
    xy, given = torch.rand(2, 21, 2) * 60, torch.ones(2, 21)
    with torch.no_grad():
        axes = prompted()(torch.randn(2, 3, 64, 64), xy, given)
    found = torch.stack([axis.argmax(dim=-1) / 2 for axis in axes], dim=-1)
    assert float((found - xy).abs().max()) <= 0.25  # the nearest bin of half a pixel


def wrist(evidence: list[tuple[int, int]], elbow: tuple[float, float] | None) -> np.ndarray:
    """Where a wrist is found whose map has equal peaks at cells (x, y), by a prior of 16 pixels right of the elbow.

    Keypoints are elbow and wrist; the crop has 64 x 64 pixels, a cell 4.
    """
    prompts = Prompts(2, (64, 64), 2.0, 4)
    with torch.no_grad():
        for parameter in prompts.prior.parameters():
            parameter.zero_()
        # The unit is 16 pixels: one to the right of the middle of the others, which is the elbow; 16 * softplus(0) / 3.
        prompts.prior.bias.view(2, -1, 4)[1, :, 0] = 1.0
        prompts.log_sharp.zero_()
        maps = torch.full((1, 2, 16, 16), -20.0)
        for x, y in evidence:
            maps[0, 1, y, x] = 0.0
        # The axes show the same peaks, 3 bins wide.
        axes = []
        for axis in range(2):
            bins = torch.arange(128.0)
            middles = [8 * cell[axis] + 3.5 for cell in evidence]
            one = torch.stack([-0.5 * ((bins - middle) / 3) ** 2 for middle in middles]).logsumexp(dim=0)
            axes.append(torch.stack([torch.zeros(128), one])[None])
        xy = torch.tensor([[elbow or (0.0, 0.0), (0.0, 0.0)]])
        told = prompts((axes[0], axes[1]), maps, xy, torch.tensor([[float(elbow is not None), 0.0]]))
    return np.array([float(axis[0, 1].argmax()) / 2 for axis in told])


@pytest.mark.parametrize(("elbow", "x"), [((0.0, 26.0), 9.75), ((38.0, 26.0), 49.75)], ids=["the left", "the right"])
def test_a_known_elbow_decides_between_two_wrists(elbow, x):
    # Peaks in cells 2 and 12 of the seventh row, at 9.75 and 49.75 pixels; the prior lies at 16 and at 54.
    assert np.allclose(wrist([(2, 6), (12, 6)], elbow), [x, 25.75], atol=3)


def test_a_wrist_that_is_seen_clearly_stays():
    assert np.allclose(wrist([(2, 6)], (38.0, 26.0)), wrist([(2, 6)], None), atol=3)


def test_evidence_is_the_map_made_sharper_with_a_little_everywhere():
    torch.manual_seed(0)
    prompts, maps = Prompts(3, SIZE_WH, 2.0, 4), torch.randn(1, 3, 16, 12) * 20
    with torch.no_grad():
        shares = prompts.seen(maps).exp()
        floor = prompts.floor.exp().max() / (16 * 12)
    assert torch.allclose(shares.flatten(2).sum(dim=-1), torch.ones(1, 3))
    assert torch.equal(shares.flatten(2).argmax(dim=-1), maps.flatten(2).argmax(dim=-1))
    assert float(shares.min()) >= 0.9 * float(floor)
    with torch.no_grad():
        prompts.log_sharp += 0.5
        assert float((prompts.seen(maps).exp().amax(dim=(2, 3)) - shares.amax(dim=(2, 3))).min()) > 0


@pytest.mark.parametrize(("mean", "wanted"), [
    (3.75, [0.5, 0.5]),  # cells are 4 pixels, 8 bins of half a pixel: the second begins where bin 8 does, at 3.75
    (1.75, [0.9545, 0.0228]),  # two widths from either end of the first
    (-0.25, [0.5, 0.0]),  # half of it lies beyond the crop
], ids=["on an edge", "in a middle", "on the crop's edge"])  # fmt: skip
def test_a_prior_narrower_than_a_cell_counts_whole(mean, wanted):
    prompts = Prompts(1, SIZE_WH, 2.0, 4)
    mass = prompts._mass(12, torch.full((1, 1, 1), mean), torch.ones(1, 1, 1))
    assert mass.shape == (1, 1, 1, 12)
    assert mass[0, 0, 0, :2].tolist() == pytest.approx(wanted, abs=1e-3)


def test_places_of_what_is_not_given_are_not_looked_at():
    torch.manual_seed(0)
    prompts, maps = Prompts(3, SIZE_WH, 2.0, 4), torch.randn(1, 3, 16, 12)
    axes = (torch.randn(1, 3, 96), torch.randn(1, 3, 128))
    given = torch.tensor([[1.0, 0.0, 1.0]])
    a, b = torch.rand(1, 3, 2) * 40, torch.rand(1, 3, 2) * 40
    b[:, [0, 2]] = a[:, [0, 2]]
    for one, other in zip(prompts(axes, maps, a, given), prompts(axes, maps, b, given), strict=True):
        assert torch.equal(one, other)


def test_a_keypoint_s_own_place_says_nothing_in_its_prior():
    torch.manual_seed(0)
    prior, left = Prior(3, 12.0), torch.tensor([[1]])
    xy, given, sure = torch.rand(1, 3, 2) * 40, torch.ones(1, 3), torch.rand(1, 3)
    elsewhere = xy.clone()
    elsewhere[:, 1] += 20
    for a, b in zip(prior(xy, given, sure, left), prior(elsewhere, given, sure, left), strict=True):
        assert torch.equal(a, b)


def test_the_prior_moves_with_the_person():
    torch.manual_seed(0)
    prior, left = Prior(3, 12.0), torch.tensor([[0, 1, 2]])
    xy, given, sure = torch.rand(1, 3, 2) * 40, torch.ones(1, 3), torch.ones(1, 3)
    move = torch.tensor([3.0, -7.0])
    here, there = (prior(points, given, sure, left) for points in (xy, xy + move))
    assert torch.allclose(here[0] + move, there[0], atol=1e-4)
    assert torch.allclose(here[1], there[1], atol=1e-5)


def test_a_mixture_s_density_is_that_of_its_parts():
    # One part at (0, 0) of width 2 and weight 1: at distance 2, -4 / (2 * 4) - 2 log 2.
    mean, width, share = torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1), 2.0), torch.zeros(1, 1, 1)
    found = Prior.log_density((mean, width, share), torch.tensor([[[[2.0, 0.0]]]]))
    assert float(found) == pytest.approx(-0.5 - 2 * np.log(2))


def test_a_nan_becomes_a_place_that_is_not_given():
    xy, given = split_given(torch.tensor([[[1.0, 2.0], [np.nan, np.nan]]]))
    assert xy.tolist() == [[[1.0, 2.0], [0.0, 0.0]]]
    assert given.tolist() == [[1.0, 0.0]]


def test_onnx_says_the_same(tmp_path):
    beside = {"prompt_xy": torch.rand(2, 21, 2) * 64, "prompt_given": (torch.rand(2, 21) < 0.5).float()}
    network, path = prompted(), tmp_path / "told.onnx"
    assert onnx_file.write(network, path, (64, 64), ["x", "y"], beside=beside) < 1e-3
    for people in (1, 3):  # any number of them
        inputs = (torch.randn(people, 3, 64, 64), torch.rand(people, 21, 2) * 64, torch.ones(people, 21))
        names = ("image", *beside)
        found = onnx_file.run(path, **{name: one.numpy() for name, one in zip(names, inputs, strict=True)})
        with torch.no_grad():
            assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(found, network(*inputs), strict=True))
