"""mmengine's parts of a step, made so that Python stays ahead of an accelerator.

An accelerator is handed its work long before it does it, unless Python reads a number back, which waits until all is
done, or calls it for each tensor by itself, which costs more than the work. mmengine's average, optimiser and hooks do.
"""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import RuntimeInfoHook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from annotator.errors import InputError, expected
from models import openmm_compat

openmm_compat.prepare()

from mmpose.engine.hooks import ExpMomentumEMA  # noqa: E402


@MODELS.register_module()
class Average(ExpMomentumEMA):
    """mmpose's moving average of weights and buffers, up to rounding: one operation over all tensors."""

    def update_parameters(self, model: nn.Module) -> None:
        """After a step."""
        before = int(self.steps)  # counted on the processor
        if not (before and self.update_buffers and self.interval == 1):
            super().update_parameters(model)
            return
        momentum = (1 - self.momentum) * math.exp(-(1 + before) / self.gamma) + self.momentum
        now = model.state_dict()
        names = [name for name, mine in self.avg_parameters.items() if mine.is_floating_point()]
        average = get_ema_multi_avg_fn(1 - momentum)
        average([self.avg_parameters[name] for name in names], [now[name] for name in names], self.steps)
        self.steps += 1


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FewGroups(DefaultOptimWrapperConstructor):
    """mmengine's rules of who decays, with a group for each rule, not each parameter: a step is a call a group."""

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "", **how: Any) -> None:
        """Add a module's parameters to `params`, groups of one; of the whole network, put together those alike."""
        super().add_params(params, module, prefix, **how)
        if prefix:
            return
        alike: dict[tuple[tuple[str, Any], ...], list[Tensor]] = {}
        for group in params:
            rule = tuple(sorted((name, value) for name, value in group.items() if name != "params"))
            alike.setdefault(rule, []).extend(group["params"])
        params[:] = [{"params": of, **dict(rule)} for rule, of in alike.items()]


@OPTIM_WRAPPERS.register_module()
class QuietOptimWrapper(OptimWrapper):
    """Clips gradients, and does not ask how long they were."""

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        self.clip_func([p for group in groups for p in group["params"] if p.grad is not None], **self.clip_grad_kwargs)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of a checkpoint; raises InputError where it has other groups, as those from before `FewGroups` have."""
        ours, theirs = len(self.optimizer.param_groups), len(state_dict["param_groups"])
        if ours != theirs:
            raise InputError(expected(f"{ours} groups of parameters", theirs, "a checkpoint of another version"))
        super().load_state_dict(state_dict)


@HOOKS.register_module()
class QuietInfoHook(RuntimeInfoHook):
    """Leaves losses where they are; `hooks.ProgressHook` reads them now and then."""

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        """Nothing."""
