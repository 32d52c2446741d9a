"""What is read off a network's output, in crop pixels or, after mapping, in picture pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from annotator.skeletons import FloatArray
from annotator.students import crop


@dataclass(frozen=True)
class Readout:
    """N people x K keypoints.

    Attributes:
        xy: (N, K, 2) the most likely place.
        score: (N, K) in [0, 1].
        spread: (N, K) root mean square distance from `xy` under the predicted distribution.
        entropy: (N, K) nats of the predicted distribution.
        peaks: (N, K) number of separate peaks at least a third as high as the highest.
        second_xy: (N, K, 2) the next peak, NaN where there is none.
        second_share: (N, K) its height over that of both, 0 where there is none.
        flip: (N, K) distance between the word on the picture and on its mirror image, NaN without flip test.
    """

    xy: FloatArray
    score: FloatArray
    spread: FloatArray
    entropy: FloatArray
    peaks: FloatArray
    second_xy: FloatArray
    second_share: FloatArray
    flip: FloatArray

    def to_picture(self, affine: FloatArray) -> Readout:
        """Map from crop to picture pixels; `affine` (N, 2, 3) is picture -> crop."""
        back = crop.invert(affine)
        zoom = np.sqrt(np.abs(np.linalg.det(back[..., :2])))[:, None]
        return Readout(
            crop.apply(back, self.xy), self.score, self.spread * zoom, self.entropy, self.peaks,
            crop.apply(back, self.second_xy), self.second_share, self.flip * zoom,
        )  # fmt: skip

    def pack(self) -> FloatArray:
        """All columns side by side, (N, K, 10)."""
        columns = [getattr(self, f.name) for f in fields(self)]
        return np.concatenate([c if c.ndim == 3 else c[..., None] for c in columns], axis=2)

    @classmethod
    def unpack(cls, packed: FloatArray) -> Readout:
        """Inverse of `pack`."""
        p = packed
        return cls(p[..., :2], p[..., 2], p[..., 3], p[..., 4], p[..., 5], p[..., 6:8], p[..., 8], p[..., 9])

    PACKED = 10
