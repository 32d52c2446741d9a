"""A network read at the highest cells of its heatmaps: what DARK's refinement is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator.skeletons import FloatArray
from annotator.students import heatmap
from annotator.students.card import Heatmap
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout


class HighestCell(OnnxModel):
    """As OnnxModel, for heatmaps, but a place is the middle of a cell."""

    @property
    def key(self) -> str:
        """Not kept together with the refined words."""
        return f"highest cell {super().key}"

    def read(self, crops: NDArray[np.uint8], given: FloatArray | None = None) -> Readout:
        """As OnnxModel.read; places and scores alone, NaN for the rest."""
        out, card = self.card.output, self.card
        assert isinstance(out, Heatmap)
        maps = self._maps(crops, out, given)
        if card.flip_test:
            back = heatmap.unmirror(self._maps(crops[:, :, ::-1], out, given), self.skeleton.flip, out.flip_shift)
            maps = (maps + back) / 2
        n, k, _, w = maps.shape
        top = maps.reshape(n, k, -1).argmax(axis=2)
        offset = card.by_keypoint(card.keypoint_offset_px)
        bias = np.array([offset.get(name, (0.0, 0.0)) for name in self.skeleton.keypoints])
        packed = np.full((n, k, Readout.PACKED), np.nan)
        packed[..., :2] = np.stack([top % w, top // w], axis=2) * out.stride + out.offset_px + bias
        packed[..., 2] = maps.reshape(n, k, -1).max(axis=2)
        return Readout.unpack(packed)

    def _maps(self, crops: NDArray[np.uint8], out: Heatmap, given: FloatArray | None) -> FloatArray:
        """Maps (N, K, h, w)."""
        maps = self.raw(crops, given)[0]
        return maps.transpose(0, 3, 1, 2) if out.layout == "NHWC" else maps
