"""Training the prompts of a finished student alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import InputError
from models import tell
from models.dataset import PeopleSet, read_info
from models.export import load
from models.network import UnionPose
from models.recipe import load_recipe

SIZE_HW = (64, 64)


@pytest.fixture(scope="module")
def told(dots_set, tmp_path_factory) -> tuple[Path, Path]:
    """A run that ended, and what became of it: prompts trained for a moment."""
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("told")
    torch.manual_seed(0)
    network = UnionPose("tiny", SIZE_HW, 21, {"dots": 0.45}, locate=1.0)
    network.init_weights()
    saved = {"size": "tiny", "size_hw": SIZE_HW, "split": 2.0, "keypoints": read_info(dots_set)["keypoints"]}
    torch.save(saved | {"state_dict": network.state_dict()}, run / "weights.pth")
    recipe = load_recipe("rtmpose_t", {"beta": {"dots": 0.45}})
    (run / "manifest.json").write_text(json.dumps({"recipe": recipe, "weights_sha256": "0" * 64}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"POSES": 300, "PEOPLE": 32, "BATCH": 8, "WEIGHED": 32}.items():
            patch.setattr(tell, name, value)
        tell.tell(run, dots_set, out, passes=2, seed=0, check=dots_set)
    return run, out


def test_with_nothing_known_the_student_stays_what_it_was(told):
    before, after = (load(folder / "weights.pth")[0] for folder in told)
    pixels, nothing = torch.randn(2, 3, *SIZE_HW), (torch.zeros(2, 21, 2), torch.zeros(2, 21))
    with torch.no_grad():
        for wanted, found in zip(before(pixels, *nothing), after(pixels, *nothing), strict=True):
            assert torch.equal(wanted, found)


def test_a_known_point_speaks_about_the_others(told):
    after = load(told[1] / "weights.pth")[0]
    pixels, xy, given = torch.randn(1, 3, *SIZE_HW), torch.full((1, 21, 2), 20.0), torch.zeros(1, 21)
    given[0, 0] = 1
    with torch.no_grad():
        moved = [(a - b).abs().amax(dim=-1)[0] for a, b in zip(after(pixels), after(pixels, xy, given), strict=True)]
    assert all((axis > 0).all() for axis in moved)


def test_poses_are_learnt_better_than_their_mean(told, dots_set):
    people, (network, _) = PeopleSet(str(dots_set)), load(told[1] / "weights.pth")
    xy = torch.as_tensor(people.arrays["xy"]).float() * 64 / 160
    given = torch.isfinite(xy).all(dim=-1).float()
    rows = given[:, 0] > 0
    xy, given = torch.nan_to_num(xy)[rows], given[rows]
    with torch.no_grad():
        mean, _, share = network.prompts.prior(xy, given, given, torch.zeros(len(xy), 1, dtype=torch.int64))
    guess = (mean * share.exp()[..., None]).sum(dim=2)[:, 0]
    others = given.clone()
    others[:, 0] = 0
    middle = (xy * others[..., None]).sum(dim=1) / others.sum(dim=1)[:, None]
    error = [float((one - xy[:, 0]).norm(dim=-1).mean()) for one in (guess, middle)]
    assert np.isfinite(error).all() and error[0] < error[1]


@pytest.mark.parametrize(("there", "bold"), [(40.0, True), (16.0, False)], ids=["right", "wrong"])
def test_a_prior_that_is_right_may_be_bold(there, bold):
    """The second keypoint is hidden; the map puts it at (16, 16), perhaps at (40, 40), and the prior at (40, 40)."""
    network = UnionPose("tiny", SIZE_HW, 2, {}, prompt=True).eval().requires_grad_(False)
    prompts = network.prompts
    for parameter in prompts.prior.parameters():
        parameter.zero_()
    # From the middle of the others, which is the given one at (20, 20), in units of 16 pixels.
    prompts.prior.bias.view(2, -1, 4)[:, :, :2] = 20 / 16
    prompts.log_trust.fill_(-1.5)
    prompts.log_sharp.zero_()
    maps = torch.full((4, 2, 16, 16), -9.0)
    maps[:, :, 4, 4], maps[:, :, 10, 10] = 0.0, -6.0
    shares = maps.flatten(2).softmax(dim=-1).unflatten(2, (16, 16))
    x, y = (torch.log(shares.sum(dim=d)).repeat_interleave(8, dim=2) for d in (2, 3))
    known = torch.tensor([[20.0, 20.0], [there, there]]).repeat(4, 1, 1)
    seen = {"known": known, "placed": known, "x": x, "y": y, "maps": maps}
    with pytest.MonkeyPatch.context() as patch:
        first = torch.tensor([[[True], [False]]])
        patch.setattr(tell, "draw", lambda points, *_: torch.where(first, points, torch.nan))
        tell.embolden(network, seen, torch.tensor([0, 1]), np.random.default_rng(0))
    assert (float(prompts.log_trust[1]) > -1.5) is bold


def test_a_student_without_a_map_is_refused(told, tmp_path):
    network = UnionPose("tiny", SIZE_HW, 21, {"dots": 0.45})
    saved = {"size": "tiny", "size_hw": SIZE_HW, "split": 2.0, "keypoints": ["nose"] * 21}
    torch.save(saved | {"state_dict": network.state_dict()}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"trained with a map \(locate > 0\)"):
        load(tmp_path / "weights.pth", prompt=True)


@pytest.mark.parametrize("which", ["data", "check"])
def test_a_set_of_other_keypoints_is_refused(told, dots_set, tmp_path, which):
    other = tmp_path / "other"
    shutil.copytree(dots_set, other)
    info = json.loads((other / "set.json").read_text())
    (other / "set.json").write_text(json.dumps(info | {"keypoints": ["one", *info["keypoints"][1:]]}))
    sets = {"data": dots_set, "check": dots_set} | {which: other}
    with pytest.raises(InputError, match=r"other: expected the keypoints nose, .*, got one, "):
        tell.tell(told[0], sets["data"], tmp_path / "out", passes=1, seed=0, check=sets["check"])


def test_the_manifest_says_from_which_weights_and_how(told):
    manifest = json.loads((told[1] / "manifest.json").read_text())
    assert manifest["told"]["from"] == "0" * 64
    assert (manifest["told"]["passes"], manifest["told"]["seed"]) == (2, 0)
    assert len(manifest["told"]["check_sha256"]) == 64
    assert manifest["weights_sha256"] != "0" * 64
