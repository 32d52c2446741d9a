"""What predicts: one or more networks read for every person of a shard, and their words brought together.

A PoseModel is a list of networks over one skeleton. With one network its word stands; with several (`--student
teachers`) each keypoint is fused from those that know it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator.errors import ImageError
from annotator.files import read_bytes, sha256
from annotator.images import Images, decode
from annotator.people import ORIGIN, People
from annotator.proposals import KIND, Proposals
from annotator.skeletons import FloatArray, Skeleton
from annotator.students import cache, crop
from annotator.students.ensemble import fuse
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout


@dataclass(frozen=True)
class PoseModel:
    """A student, or the fused teachers.

    Attributes:
        name: what the proposals are signed with.
        networks: at least one.
        skeleton: the keypoints it proposes.
    """

    name: str
    networks: tuple[OnnxModel, ...]
    skeleton: Skeleton

    def predict(self, images: Images, people: People, kept: cache.Cache) -> tuple[Proposals, dict[str, str]]:
        """Proposals for all people whose picture can be read, and why the other pictures cannot, by image id.

        Args:
            images: the pictures of these people, and maybe more.
            people: over `self.skeleton`.
            kept: predictions made before; new ones are added.
        """
        words, unreadable = readouts(self.networks, images, people, kept)
        rows = np.flatnonzero(~np.isin(people.image_id.astype(str), list(unreadable)))
        people = people.take(rows)
        if len(self.networks) == 1:
            columns = self.networks[0].skeleton.columns_of(self.skeleton)
            word, apart = _spread_out(words[0].pack()[rows], columns), words[0].flip[rows]
            apart = np.where(columns >= 0, apart[:, columns], np.nan)
        else:
            packs = [
                _spread_out(word.pack()[rows], net.skeleton.columns_of(self.skeleton))
                for net, word in zip(self.networks, words, strict=True)
            ]
            trust = np.array([net.card.trust_over(self.skeleton) for net in self.networks])
            word, apart = fuse(np.stack(packs), trust, people.scale_px())
        return _proposals(self, people, Readout.unpack(word), apart), unreadable


def _spread_out(packed: FloatArray, columns: NDArray[np.int64]) -> FloatArray:
    """Packed readouts (N, k, 10) over the columns of a wider skeleton, NaN where the network has no word."""
    return np.where((columns >= 0)[None, :, None], packed[:, columns], np.nan)


def readouts(
    networks: Iterable[OnnxModel], images: Images, people: People, kept: cache.Cache
) -> tuple[list[Readout], dict[str, str]]:
    """Every network's word on every person, in the pictures' own pixels; NaN where a picture cannot be read."""
    networks = list(networks)
    box = people.bbox_xywh - np.concatenate([people.pixel_origin[:, None]] * 2 + [np.zeros((len(people), 2))], axis=1)
    labels = people.xy - people.pixel_origin[:, None, None]
    picture = _Pictures(images)
    digests = [picture.digest(image_id) for image_id in people.image_id]
    words = []
    for net in networks:
        given = _known(net, labels, people.skeleton)
        asked = np.concatenate([box, given.reshape(len(people), -1)], axis=1) if net.card.prompts else box
        keys = [cache.key(net.key, digest, a) if digest else b"" for digest, a in zip(digests, asked, strict=True)]
        found = kept.get([k for k in keys if k], Readout.PACKED)
        if new := _read_new(net, picture, people.image_id, box, given, keys, found):
            kept.put(new)
            # What is kept is rounded to 32 bits; use it rounded, so that a second run gives the same bytes.
            found |= {name: value.astype(np.float32).astype(np.float64) for name, value in new.items()}
        blank = np.full((len(net.skeleton), Readout.PACKED), np.nan)
        packed = np.stack([found.get(k, blank) for k in keys]) if keys else np.zeros((0, *blank.shape))
        packed[..., :2] += people.pixel_origin[:, None, None]
        packed[..., 6:8] += people.pixel_origin[:, None, None]
        words.append(Readout.unpack(packed))
    return words, picture.unreadable


def _known(net: OnnxModel, labels: FloatArray, skeleton: Skeleton) -> FloatArray:
    """Labels (N, K, 2) over a network's own keypoints, (N, k, 2), NaN where there is none."""
    columns = skeleton.columns_of(net.skeleton)
    known = labels[:, columns]
    # One NaN for all that is not there: its bytes are a part of the cache's key.
    return np.where((columns >= 0)[None, :, None] & np.isfinite(known), known, np.nan)


def _read_new(
    net: OnnxModel, picture: _Pictures, image_id: NDArray[np.object_], box: FloatArray, given: FloatArray,
    keys: list[bytes], found: dict[bytes, FloatArray],
) -> dict[bytes, FloatArray]:  # fmt: skip
    rows = [i for i, name in enumerate(keys) if name and name not in found]
    size = net.card.input.size_hw
    affine = crop.affines(box, size, net.card.crop.factor)
    crops, read = [], []
    for i in rows:
        if (pixels := picture.pixels(image_id[i])) is not None:
            crops.append(crop.cut(pixels, affine[i], size))
            read.append(i)
    if not read:
        return {}
    known = crop.apply(affine[read], given[read])
    packed = net.read(np.stack(crops), known).to_picture(affine[read]).pack()
    return {keys[i]: packed[j] for j, i in enumerate(read)}


class _Pictures:
    """Bytes and pixels of a shard's pictures, each file opened once; why some cannot be."""

    HELD = 200_000_000  # bytes of pixels: more than sixty photographs of COCO's size, or five of 12 megapixels

    def __init__(self, images: Images) -> None:
        self._path = dict(zip(images.image_id, images.path, strict=True))
        self._bytes: dict[str, bytes] = {}
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self.unreadable: dict[str, str] = {}

    def digest(self, image_id: str) -> str:
        """SHA-256 of the picture's bytes, empty where it cannot be opened."""
        if image_id not in self._bytes and image_id not in self.unreadable:
            try:
                self._bytes[image_id] = read_bytes(Path(self._path[image_id]), "a picture")
            except (OSError, ValueError) as error:
                self.unreadable[image_id] = str(error)
        return sha256(self._bytes[image_id]) if image_id in self._bytes else ""

    def pixels(self, image_id: str) -> NDArray[np.uint8] | None:
        """RGB pixels, None where they cannot be decoded."""
        if image_id in self.unreadable:
            return None
        if image_id not in self._pixels:
            if sum(pixels.nbytes for pixels in self._pixels.values()) > self.HELD:
                self._pixels.clear()
            try:
                self._pixels[image_id] = decode(self._bytes[image_id], self._path[image_id])
            except ImageError as error:
                self.unreadable[image_id] = str(error)
                return None
        return self._pixels[image_id]


def _proposals(model: PoseModel, people: People, word: Readout, apart: FloatArray) -> Proposals:
    nothing = np.full(people.v.shape, np.nan)
    unlabelled = np.where(people.in_schema, KIND["unlabelled"], KIND["not_in_schema"])
    return Proposals(
        model.skeleton,
        model.name,
        person_id=people.person_id,
        image_id=people.image_id,
        scale_px=people.scale_px(),
        xy=word.xy,
        score=word.score,
        p_present=nothing,
        expected_error_px=nothing,
        radius50=nothing,
        radius80=nothing,
        radius90=nothing,
        radius95=nothing,
        spread_px=word.spread,
        entropy=word.entropy,
        peaks=word.peaks,
        disagreement_px=apart,
        origin=np.full(people.v.shape, ORIGIN["proposed"]),
        kind=np.where(people.labelled, KIND["labelled"], unlabelled),
        calibrated=np.zeros(people.v.shape, dtype=np.uint8),
    )
