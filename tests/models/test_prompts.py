"""Known keypoints as prompts: how they are drawn in training, and what the network makes of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import losses, targets
from models.dataset import PeopleSet
from models.network import HIDDEN, Head, UnionPose
from models.preprocess import Preprocessor
from models.prompts import Giving, Prompts, draw, split_given

SIZE_WH = (48, 64)
FLIP = torch.tensor([0, 2, 1])
EXACT = Giving(all=0, jitter_px=0, wrong=0)


def known(n: int = 400) -> torch.Tensor:
    """N people with keypoints at (10, 20), (30, 40) and nowhere."""
    return torch.tensor([[10.0, 20.0], [30.0, 40.0], [np.nan, np.nan]]).repeat(n, 1, 1)


def drawn(how: Giving, n: int = 400, seed: int = 0) -> np.ndarray:
    return draw(known(n), FLIP, SIZE_WH, how, np.random.default_rng(seed)).numpy()


def test_what_is_given_is_what_is_known():
    given = drawn(EXACT)
    there = np.isfinite(given).all(axis=2)
    assert not there[:, 2].any()
    assert np.array_equal(given[there], known().numpy()[there])


@pytest.mark.parametrize(("how", "low", "high"), [
    (EXACT, 0.45, 0.55),  # uniform from none to all: half
    (Giving(all=1, jitter_px=0, wrong=0), 0.87, 0.93),  # uniform from .8 to all
], ids=["any share", "a labelled person"])  # fmt: skip
def test_how_many_are_given(how, low, high):
    assert low < np.isfinite(drawn(how, 2000)[:, :2]).all(axis=2).mean() < high


def test_a_third_of_the_people_has_moved_prompts():
    given = drawn(Giving(all=1, jitter_px=3, wrong=0), 3000)[:, 0]
    off = np.linalg.norm(given - [10, 20], axis=1)[np.isfinite(given).all(axis=1)]
    assert 0.3 < (off > 0).mean() < 0.37
    # Each axis moves by a normal of 3 pixels: root mean square distance 3 * sqrt(2).
    assert np.sqrt((off[off > 0] ** 2).mean()) == pytest.approx(3 * np.sqrt(2), rel=0.1)


def test_wrong_prompts_lie_elsewhere_or_on_the_other_side():
    given = drawn(Giving(all=1, jitter_px=0, wrong=1), 2000)[:, 1]
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
    return network


@pytest.mark.parametrize("given", [None, 0.0, 1.0], ids=["no prompts", "nothing known", "all known"])
def test_untrained_prompts_change_nothing(given):
    network, pixels = prompted().eval(), torch.randn(2, 3, 64, 64)
    bare = UnionPose("tiny", (64, 64), 21, {"dots": 0.45}).eval()
    bare.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("prompts.")})
    said = () if given is None else (torch.rand(2, 21, 2) * 64, torch.full((2, 21), given))
    with torch.no_grad():
        for wanted, found in zip(bare(pixels), network(pixels, *said), strict=True):
            assert torch.equal(wanted, found)


def test_places_of_what_is_not_given_are_not_looked_at():
    torch.manual_seed(0)
    tokens = Prompts(3, 8, SIZE_WH, 2.0)
    for parameter in tokens.parameters():
        torch.nn.init.normal_(parameter)
    given = torch.tensor([[1.0, 0.0, 1.0]])
    a, b = torch.rand(1, 3, 2) * 40, torch.rand(1, 3, 2) * 40
    b[:, [0, 2]] = a[:, [0, 2]]
    assert torch.equal(tokens(a, given), tokens(b, given))


def test_a_nan_becomes_a_place_that_is_not_given():
    xy, given = split_given(torch.tensor([[[1.0, 2.0], [np.nan, np.nan]]]))
    assert xy.tolist() == [[[1.0, 2.0], [0.0, 0.0]]]
    assert given.tolist() == [[1.0, 0.0]]


def test_a_training_batch_goes_through_the_head_with_and_without_prompts(dots_set):
    people = PeopleSet(str(dots_set))
    batch = Preprocessor(people.info, (64, 64), prompt=True)(
        torch.utils.data.default_collate([people[i] for i in range(4)]), training=True
    )
    network = prompted().train()
    torch.nn.init.normal_(network.prompts.known)
    parts = network.losses(batch["inputs"], batch["targets"], batch["given"])
    alone = network.losses(batch["inputs"], batch["targets"])
    assert torch.isfinite(batch["given"]).any()
    assert float(parts["loss"].detach()) == pytest.approx(float((alone["loss"] + parts["prompted"]).detach()), rel=1e-4)


def test_prompts_learn_to_tell_what_the_picture_does_not():
    # Three keypoints in a row, 10 pixels apart, at a place that only the prompt of the first one tells.
    torch.manual_seed(0)
    head, prompts = Head(8, 3, (64, 64), 2.0), Prompts(3, HIDDEN, (64, 64), 2.0)
    first = torch.rand(64, 1, 2) * 40 + 2
    xy = torch.cat([first, first + 10, first + 20], dim=1)
    given = torch.tensor([1.0, 0.0, 0.0]).expand(64, 3)
    target = targets.render(xy[:, :, None], torch.full((64, 3, 1), 2.0), torch.ones(64, 3, 1), (64, 64), 2.0)
    optimizer = torch.optim.AdamW([*head.parameters(), *prompts.parameters()], lr=3e-3)
    for _ in range(300):
        axes = head.axes(head.tokens(torch.zeros(64, 8, 2, 2)) + prompts(xy, given))
        loss = losses.divergence(axes, target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = torch.stack([axis.argmax(dim=-1) / 2 for axis in axes], dim=-1)
    assert float((found - xy).norm(dim=-1).median()) < 4
