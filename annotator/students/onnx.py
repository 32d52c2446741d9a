"""Any ONNX network with a card: crops in, a Readout out.

A run always holds exactly `card.input.batch` crops (the last one is filled up), on one thread: so what is read for a
person does not depend on its neighbours in the batch, nor on the number of workers. Workers are threads that each call
`read`; a session may be shared between them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.errors import FormatError, MissingError, expected
from annotator.skeletons import FloatArray, Skeleton
from annotator.students import card as cards
from annotator.students import heatmap, simcc
from annotator.students.card import Card, Heatmap, SimCC
from annotator.students.readout import Readout

# Fields of a card that do not change what is predicted.
_SAYS_NOTHING = {"figures", "data", "terms", "recipe", "url", "mmpose_config", "default", "trust", "role"}
PROVIDERS = ("CPUExecutionProvider",)


class OnnxModel:
    """A network and its card.

    Args:
        card: how to feed and read it.
        path: the ONNX file.
        providers: onnxruntime execution providers, in order of preference.

    Raises:
        MissingError: the weights are not there; says where they can be had.
        FormatError: not an ONNX network, or not the one that the card names.
    """

    def __init__(self, card: Card, path: Path, providers: tuple[str, ...] = PROVIDERS) -> None:
        self.card = card
        self.path = path
        self.skeleton: Skeleton = card.skeleton
        if not path.is_file():
            hint = f"get them with: annotator students add {card.name}" if card.url else "set ANNOTATOR_TEACHERS"
            raise MissingError(expected(f"weights of {card.name} ({hint})", "no such file", str(path)))
        self.digest = cards.check_weights(card, path)
        self._providers = providers

    @cached_property
    def _session(self) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(self.path), options, providers=list(self._providers))
        except Exception as error:  # onnxruntime raises classes of its own for every fault
            raise FormatError(expected("an ONNX network", str(error).split("\n")[0][:200], str(self.path))) from error
        self._check_names(session)
        return session

    def __getstate__(self) -> dict[str, Any]:
        """A session cannot be sent to another process; it is opened anew there."""
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def _check_names(self, session: Any) -> None:
        found = {node.name for node in (*session.get_inputs(), *session.get_outputs())}
        if missing := [name for name in (self.card.input.name, *self._outputs) if name not in found]:
            raise FormatError(expected(f"an input or output {missing[0]!r}", sorted(found), str(self.path)))

    @property
    def _outputs(self) -> list[str]:
        out = self.card.output
        return [out.name_x, out.name_y] if isinstance(out, SimCC) else [out.name]

    @property
    def key(self) -> str:
        """What a prediction depends on besides picture and box: the card and the weights."""
        return f"{self.card.model_dump_json(exclude=_SAYS_NOTHING)}{self.digest}"

    def check(self) -> None:
        """Run one black crop; raises FormatError where the outputs do not fit the card."""
        height, width = self.card.input.size_hw
        raw = self.raw(np.zeros((1, height, width, 3), dtype=np.uint8))
        axis = 3 if isinstance(self.card.output, Heatmap) and self.card.output.layout == "NHWC" else 1
        if any(out.shape[axis] != len(self.skeleton) for out in raw):
            found = [out.shape for out in raw]
            raise FormatError(expected(f"outputs for {len(self.skeleton)} keypoints", found, str(self.path)))

    def raw(self, crops: NDArray[np.uint8]) -> list[FloatArray]:
        """The network's own outputs for crops (N, H, W, 3), RGB."""
        spec = self.card.input
        mean, std = np.array(spec.mean, dtype=np.float32), np.array(spec.std, dtype=np.float32)
        chunks = []
        for start in range(0, len(crops), spec.batch):
            part = crops[start : start + spec.batch]
            full: NDArray[np.float32] = np.zeros((spec.batch, *spec.size_hw, 3), dtype=np.float32)
            full[: len(part)] = (part - mean) / std
            if spec.layout == "NCHW":
                full = full.transpose(0, 3, 1, 2)
            outputs = self._session.run(self._outputs, {spec.name: np.ascontiguousarray(full)})
            chunks.append([out[: len(part)] for out in outputs])
        return [np.concatenate(column) for column in zip(*chunks, strict=True)]

    def read(self, crops: NDArray[np.uint8]) -> Readout:
        """Read crops (N, H, W, 3), in crop pixels, with flip test where the card says so."""
        out, raw = self.card.output, self.raw(crops)
        mirrored = self.raw(crops[:, :, ::-1]) if self.card.flip_test else None
        result = self._read_simcc(out, raw, mirrored) if isinstance(out, SimCC) else self._read_maps(out, raw, mirrored)
        bias = np.array([self.card.keypoint_offset_px.get(name, (0.0, 0.0)) for name in self.card.keypoints])
        return replace(result, xy=result.xy + bias, second_xy=result.second_xy + bias)

    def _read_simcc(self, out: SimCC, raw: list[FloatArray], mirrored: list[FloatArray] | None) -> Readout:
        decode = partial(simcc.decode, split=out.split, beta=out.beta, smooth_px=out.smooth_px, score=out.score)
        if mirrored is None:
            return decode(*raw)
        x, y = simcc.unmirror(mirrored[0], mirrored[1], self.skeleton.flip, out.split)
        apart = np.linalg.norm(decode(*raw).xy - decode(x, y).xy, axis=2)
        return replace(decode((raw[0] + x) / 2, (raw[1] + y) / 2), flip=apart)

    def _read_maps(self, out: Heatmap, raw: list[FloatArray], mirrored: list[FloatArray] | None) -> Readout:
        how = (out.stride, out.offset_px, out.dark_kernel)
        maps = _channels_first(raw[0], out)
        if mirrored is None:
            return heatmap.decode(maps, *how)
        back = heatmap.unmirror(_channels_first(mirrored[0], out), self.skeleton.flip, out.flip_shift)
        apart = np.linalg.norm(heatmap.peaks_px(maps, *how) - heatmap.peaks_px(back, *how), axis=2)
        return replace(heatmap.decode((maps + back) / 2, *how), flip=apart)


def _channels_first(maps: FloatArray, out: Heatmap) -> FloatArray:
    return maps.transpose(0, 3, 1, 2) if out.layout == "NHWC" else maps


def default_workers() -> int:
    """Threads to predict with: the cores this process may use."""
    return len(os.sched_getaffinity(0))
