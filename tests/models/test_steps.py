"""A step asks the accelerator for nothing, and sends it nothing it would have to be waited for."""

from __future__ import annotations

import copy
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from annotator.errors import InputError
from models import network, preprocess, steps  # noqa: F401  (they register themselves)
from models.dataset import PeopleSet
from models.preprocess import Preprocessor
from models.recipe import load_recipe, runner_config
from models.train import train

SIZE_HW = (64, 64)
CHANGES = {"compiled": False, "batch": 4, "size_hw": SIZE_HW, "epochs": 1, "warm_up_steps": 2, "beta": {"dots": 0.45}}


class Watch(TorchDispatchMode):
    """Counts fractions that are read back, and what is sent from a processor to another device, by how."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.sent = 0, Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """One operation."""
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        self.read += name == "_local_scalar_dense" and args[0].is_floating_point()
        out = func(*args, **kwargs)
        if name in ("_to_copy", "copy_"):
            # `copy_` is told by place, `_to_copy` by name.
            into, source, ahead = (args[0], args[1], args[2:]) if name == "copy_" else (out, args[0], ())
            if source.device.type == "cpu" != into.device.type:
                self.sent["ahead" if kwargs.get("non_blocking") or any(ahead) else "waiting"] += 1
        return out


def config(dots_set, tmp_path):
    return runner_config(load_recipe("rtmpose_t", CHANGES), dots_set, None, tmp_path)


def small() -> torch.nn.Module:
    """Weights, a norm's buffers, and one that counts."""
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_the_average_is_mmposes():
    torch.manual_seed(0)
    model = small()
    ours, theirs = (
        MODELS.build({"type": kind, "model": model, "momentum": 0.1, "gamma": 3, "update_buffers": True})
        for kind in ("Average", "mmpose.ExpMomentumEMA")
    )
    for _ in range(4):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        model(torch.randn(2, 3, 8, 8))
        ours.update_parameters(model)
        theirs.update_parameters(model)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    assert not torch.equal(ours.module[0].weight, model[0].weight)


def test_groups_have_the_parameters_and_the_decay_that_mmengine_gives_each(dots_set, tmp_path):
    init_default_scope("mmengine")
    made = config(dots_set, tmp_path)
    model = MODELS.build(made.model)
    ours = build_optim_wrapper(model, made.optim_wrapper).optimizer
    plain = {"optimizer": made.optim_wrapper.optimizer, "paramwise_cfg": made.optim_wrapper.paramwise_cfg}
    theirs = DefaultOptimWrapperConstructor(plain, plain.pop("paramwise_cfg"))(model).optimizer

    def settings(optimizer):
        groups = optimizer.param_groups
        return {id(p): (group["weight_decay"], group["lr"]) for group in groups for p in group["params"]}

    assert settings(ours) == settings(theirs)
    assert len(ours.param_groups) == len({group["weight_decay"] for group in theirs.param_groups}) == 2


def test_gradients_are_clipped(dots_set, tmp_path):
    made = config(dots_set, tmp_path)
    model = small()
    wrapper = build_optim_wrapper(model, made.optim_wrapper)
    before = copy.deepcopy(model.state_dict())
    wrapper.backward(1e6 * model[0].weight.sum())
    wrapper.step()
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]))
    assert float(norm) == pytest.approx(made.optim_wrapper.clip_grad.max_norm, rel=1e-4)
    assert not torch.equal(before["0.weight"], model[0].weight)


def test_a_checkpoint_with_other_groups_is_refused_in_one_line(dots_set, tmp_path):
    wrapper = build_optim_wrapper(small(), config(dots_set, tmp_path).optim_wrapper)
    state = wrapper.state_dict()
    wrapper.load_state_dict(state)
    state["param_groups"] = [group | {"params": [p]} for group in state["param_groups"] for p in group["params"]]
    with pytest.raises(InputError, match="expected 2 groups of parameters, got 4"):
        wrapper.load_state_dict(state)


def test_a_batch_is_sent_ahead_and_nothing_of_it_is_read_back(dots_set):
    people = PeopleSet(str(dots_set))
    prepare = Preprocessor(people.info, SIZE_HW, 2.0, {"blank": 1.0, "half_body": 1.0}).to("meta")
    prepare.crops, people.with_crops = torch.from_numpy(people.crops).to("meta"), False
    rows = people.batch(list(range(8)))
    with Watch() as watch:
        batch = prepare(rows, training=True)
    assert {batch["inputs"].device.type, batch["targets"]["labels"][1].device.type} == {"meta"}
    assert watch.sent["ahead"] > 5 and not watch.sent["waiting"] and not watch.read


def test_training_reads_losses_where_it_prints_them(dots_set, tmp_path, capsys):
    read, printed = [], []
    for epochs in (1, 3):
        with Watch() as watch:
            train(load_recipe("rtmpose_t", CHANGES | {"epochs": epochs}), dots_set, None, tmp_path / str(epochs), None)
        read.append(watch.read)
        printed.append(capsys.readouterr().out.count('"loss"'))
    # What was read to begin with was read both times; each line has the loss, the labels' and a teacher's.
    assert printed == [1, 3] and read[1] - read[0] == 3 * (printed[1] - printed[0])
