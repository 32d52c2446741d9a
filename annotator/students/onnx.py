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
_SAYS_NOTHING = {"figures", "failures", "data", "terms", "recipe", "url", "mmpose_config", "default", "trust", "role"}
# Raised when crops are cut or outputs are read in another way: what was kept before is then not used again.
READING = 1
# Runs of a network with two axes a keypoint that are read at a time.
RUNS = 16
DEFAULT_PROVIDER = "CPUExecutionProvider"


class OnnxModel:
    """A network and its card.

    Args:
        card: how to feed and read it.
        path: the ONNX file.

    It runs on the execution providers that ANNOTATOR_PROVIDERS names (comma between), else on the processor.

    Raises:
        MissingError: the weights are not there; says where they can be had.
        FormatError: not an ONNX network, or not the one that the card names.
    """

    def __init__(self, card: Card, path: Path) -> None:
        self.card = card
        self.path = path
        self.skeleton: Skeleton = card.skeleton
        if not path.is_file():
            raise MissingError(expected(f"weights of {card.name} ({_mend(card)})", "no such file", str(path)))
        self.digest = cards.check_weights(card, path)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime as ort

        providers = chosen_providers(ort.get_available_providers())
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own for every fault
            raise FormatError(expected("an ONNX network", str(error).split("\n")[0][:200], str(self.path))) from error
        self._check_names(session)
        return session

    def __getstate__(self) -> dict[str, Any]:
        """A session cannot be sent to another process; it is opened anew there."""
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def _check_names(self, session: Any) -> None:
        found = {node.name for node in (*session.get_inputs(), *session.get_outputs())}
        prompts = self.card.prompts
        takes = (self.card.input.name, *((prompts.name_xy, prompts.name_given) if prompts else ()))
        if missing := [name for name in (*takes, *self._outputs) if name not in found]:
            raise FormatError(expected(f"an input or output {missing[0]!r}", sorted(found), str(self.path)))

    @property
    def _outputs(self) -> list[str]:
        out = self.card.output
        return [out.name_x, out.name_y] if isinstance(out, SimCC) else [out.name]

    @property
    def key(self) -> str:
        """What a prediction depends on besides the picture and what was asked: card, weights, reading, providers."""
        on = os.environ.get("ANNOTATOR_PROVIDERS", "")
        return f"{READING}{on} {self.card.model_dump_json(exclude=_SAYS_NOTHING, exclude_none=True)}{self.digest}"

    @cached_property
    def _normalised(self) -> NDArray[np.float32]:
        """What each of 256 values becomes in each channel, (3, 256): faster than arithmetic on every pixel."""
        spec = self.card.input
        mean, std = (np.array(column, dtype=np.float32)[:, None] for column in (spec.mean, spec.std))
        return np.asarray((np.arange(256, dtype=np.float32) - mean) / std)

    def check(self) -> None:
        """Run one black crop; raises FormatError where the outputs do not fit the card."""
        height, width = self.card.input.size_hw
        self.raw(np.zeros((1, height, width, 3), dtype=np.uint8))

    def raw(self, crops: NDArray[np.uint8], given: FloatArray | None = None) -> list[FloatArray]:
        """The network's own outputs for crops (N, H, W, 3), RGB; raises FormatError where they do not fit the card.

        Args:
            crops: as above.
            given: (N, K, 2) known keypoints in crop pixels, NaN elsewhere; only a network with prompts looks at them.
        """
        spec = self.card.input
        channels_last = spec.layout == "NHWC"
        shape = (spec.batch, *spec.size_hw, 3) if channels_last else (spec.batch, 3, *spec.size_hw)
        chunks = []
        for start in range(0, len(crops), spec.batch):
            part = crops[start : start + spec.batch]
            full: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
            by_channel = (
                full[: len(part)].transpose(3, 0, 1, 2) if channels_last else full[: len(part)].transpose(1, 0, 2, 3)
            )
            for c in range(3):
                by_channel[c] = self._normalised[c][part[..., c]]
            known = given[start : start + spec.batch] if given is not None else np.zeros((0, len(self.skeleton), 2))
            chunks.append([out[: len(part)] for out in self._run(full, known)])
        return [np.concatenate(column) for column in zip(*chunks, strict=True)]

    def _prompts(self, known: FloatArray) -> dict[str, NDArray[np.float32]]:
        """The inputs for known keypoints of up to a batch of people; the rest of the batch has none."""
        if self.card.prompts is None:
            return {}
        places = np.full((self.card.input.batch, len(self.skeleton), 2), np.nan)
        places[: len(known)] = known
        there = np.isfinite(places).all(axis=2)
        xy = np.where(there[..., None], places, 0).astype(np.float32)
        return {self.card.prompts.name_xy: xy, self.card.prompts.name_given: there.astype(np.float32)}

    def _run(self, pixels: NDArray[np.float32], known: FloatArray) -> list[FloatArray]:
        session = self._session
        try:
            outputs: list[FloatArray] = session.run(
                self._outputs, {self.card.input.name: pixels} | self._prompts(known)
            )
        except Exception as error:  # as above
            wanted = f"a network that takes {pixels.shape}"
            raise FormatError(expected(wanted, str(error).split("\n")[0][:200], str(self.path))) from error
        self._check_shapes([out.shape for out in outputs], len(pixels))
        return outputs

    def _check_shapes(self, shapes: list[tuple[int, ...]], crops: int) -> None:
        out, (height, width) = self.card.output, self.card.input.size_hw
        maps = isinstance(out, Heatmap)
        axis = 3 if isinstance(out, Heatmap) and out.layout == "NHWC" else 1
        if any(len(shape) != 3 + maps or shape[0] != crops or shape[axis] != len(self.skeleton) for shape in shapes):
            wanted = f"{'maps' if maps else 'axes'} of {len(self.skeleton)} keypoints for {crops} crops"
            raise FormatError(expected(wanted, f"shapes {shapes}", str(self.path)))
        # A wrong scale would give wrong places without a word.
        if isinstance(out, SimCC):
            found = [shape[2] for shape in shapes]
            fits = found == [width * out.split, height * out.split]
            wanted = f"axes of {width * out.split} and {height * out.split} bins (split {out.split}"
        else:
            found = [size for i, size in enumerate(shapes[0]) if i not in (0, axis)]
            # A cell more or less: padding, or cells that lie on both borders (UDP).
            pairs = zip(found, (height, width), strict=True)
            fits = all(abs(cells * out.stride - side) <= out.stride for cells, side in pairs)
            wanted = f"maps of about {height / out.stride:g} and {width / out.stride:g} cells (stride {out.stride:g}"
        if not fits:
            got = " and ".join(map(str, found))
            raise FormatError(expected(f"{wanted} of card {self.card.name})", got, str(self.path)))

    def read(self, crops: NDArray[np.uint8], given: FloatArray | None = None) -> Readout:
        """Read crops (N, H, W, 3), in crop pixels, with flip test where the card says so; `given` as in `raw`.

        Only one run's maps are held at a time: 16 of 368 x 368 cells, and what is computed to read them, are over
        100 MB a person. Axes are small, and many at a time are read faster.
        """
        step = self.card.input.batch * (1 if isinstance(self.card.output, Heatmap) else RUNS)
        parts = [
            self._read(crops[i : i + step], None if given is None else given[i : i + step])
            for i in range(0, len(crops), step)
        ]
        return Readout.unpack(np.concatenate([part.pack() for part in parts]))

    def _read(self, crops: NDArray[np.uint8], given: FloatArray | None) -> Readout:
        out, raw = self.card.output, self.raw(crops, given)
        mirrored = self.raw(crops[:, :, ::-1], self._mirror(given)) if self.card.flip_test else None
        result = self._read_simcc(out, raw, mirrored) if isinstance(out, SimCC) else self._read_maps(out, raw, mirrored)
        offset = self.card.by_keypoint(self.card.keypoint_offset_px)
        bias = np.array([offset.get(name, (0.0, 0.0)) for name in self.skeleton.keypoints])
        return replace(result, xy=result.xy + bias, second_xy=result.second_xy + bias)

    def _mirror(self, given: FloatArray | None) -> FloatArray | None:
        """Known keypoints as they lie in the mirror image: index i becomes W - 1 - i, left becomes right."""
        if given is None:
            return None
        flipped = given[:, self.skeleton.flip].copy()
        flipped[..., 0] = self.card.input.size_hw[1] - 1 - flipped[..., 0]
        return flipped

    def _read_simcc(self, out: SimCC, raw: list[FloatArray], mirrored: list[FloatArray] | None) -> Readout:
        decode = partial(simcc.decode, split=out.split, beta=out.beta, smooth_px=out.smooth_px, score=out.score)
        if mirrored is None:
            return decode(*raw)
        x, y = simcc.unmirror(mirrored[0], mirrored[1], self.skeleton.flip, out.split)
        apart = np.linalg.norm(simcc.places(raw[0], raw[1], out.split) - simcc.places(x, y, out.split), axis=2)
        return replace(decode((raw[0] + x) / 2, (raw[1] + y) / 2), flip=apart)

    def _read_maps(self, out: Heatmap, raw: list[FloatArray], mirrored: list[FloatArray] | None) -> Readout:
        how = (out.stride, out.offset_px, out.dark_kernel)
        maps = _channels_first(raw[0], out)
        if mirrored is None:
            return heatmap.decode(maps, *how)
        back = heatmap.unmirror(_channels_first(mirrored[0], out), self.skeleton.flip, out.flip_shift)
        apart = np.linalg.norm(heatmap.peaks_px(maps, *how) - heatmap.peaks_px(back, *how), axis=2)
        return replace(heatmap.decode((maps + back) / 2, *how), flip=apart)


def _mend(card: Card) -> str:
    """How the weights of a card can be had."""
    if card.url:
        return f"get them with: annotator students add {card.name}"
    return (
        "set ANNOTATOR_TEACHERS to their folder" if card.role == "teacher" else f"{card.file} belongs beside its card"
    )


def chosen_providers(available: list[str]) -> list[str]:
    """onnxruntime's execution providers to use, in order of preference: those of ANNOTATOR_PROVIDERS.

    Raises:
        MissingError: one that this machine's onnxruntime does not have.
    """
    named = os.environ.get("ANNOTATOR_PROVIDERS", DEFAULT_PROVIDER)
    wanted = [name.strip() for name in named.split(",") if name.strip()] or [DEFAULT_PROVIDER]
    if missing := [name for name in wanted if name not in available]:
        raise MissingError(expected(f"one of {', '.join(available)}", missing[0], "ANNOTATOR_PROVIDERS"))
    return wanted


def _channels_first(maps: FloatArray, out: Heatmap) -> FloatArray:
    # Contiguous, so that sums are in the same order for one person as for many.
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2)) if out.layout == "NHWC" else maps


def default_workers() -> int:
    """Threads to predict with: the cores this process may use."""
    return len(os.sched_getaffinity(0))
