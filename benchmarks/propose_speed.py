"""People per second of `propose` beside the bare network on the same crops, in one run.

    python -m benchmarks.propose_speed --annotations ANN --images DIR [--student NAME] [--people 400] [--repeat 3]

Bare: the same crops, cut beforehand, normalised and put through the same network with the same flip test and the same
number of threads; nothing is decoded, cut, read off, cached or written. `propose` does all of it, from a fresh cache,
command line apart. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from annotator import formats, rounds, sources
from annotator.images import read_pixels
from annotator.skeletons import UNION_21
from annotator.students import crop, registry
from annotator.students.onnx import OnnxModel, default_workers


def crops_of(net: OnnxModel, annotations: Path, images: Path, only: Path | None) -> np.ndarray:
    """The crops that `propose` cuts, (N, H, W, 3)."""
    dataset = sources.read_source(sources.source_settings(annotations, images, only=only))
    people, size = dataset.people, net.card.input.size_hw
    box = people.bbox_xywh.copy()
    box[:, :2] -= people.pixel_origin[:, None]
    affine = crop.affines(box, size, net.card.crop.factor)
    path = dict(zip(dataset.images.image_id, dataset.images.path, strict=True))
    pixels = {name: read_pixels(Path(path[name])) for name in set(people.image_id)}
    return np.stack([crop.cut(pixels[name], affine[i], size) for i, name in enumerate(people.image_id)])


def bare(net: OnnxModel, crops: np.ndarray, workers: int) -> float:
    """Seconds for the network alone."""
    shards = [crops[i : i + rounds.SHARD] for i in range(0, len(crops), rounds.SHARD)]

    def work(part: np.ndarray) -> None:
        net.raw(part)
        if net.card.flip_test:
            net.raw(part[:, :, ::-1])

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, shards))
    return time.perf_counter() - began


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--student", default=registry.DEFAULT)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    model = registry.resolve(given.student, UNION_21)
    net, workers = model.networks[0], default_workers()
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder, "list.txt")
        everyone = formats.read(given.annotations, given.images)
        names, people = [], 0
        for image_id, name in zip(everyone.images.image_id, everyone.images.file_name, strict=True):
            if people < given.people:
                names.append(name)
                people += int((everyone.people.image_id == image_id).sum())
        only.write_text("\n".join(names))
        crops = crops_of(net, given.annotations, given.images, only)
        net.check()
        bare_s, propose_s = [], []
        for i in range(given.repeat):  # in turns, so that a busy machine slows both
            bare_s.append(bare(net, crops, workers))
            began = time.perf_counter()
            rounds.propose(
                given.annotations, given.images, Path(folder, f"out{i}"), rounds.How(given.student), only=only
            )
            propose_s.append(time.perf_counter() - began)
    n = len(crops)
    print(json.dumps({
        "student": model.name, "people": n, "images": len(names), "threads": workers, "repeat": given.repeat,
        "bare_people_per_s": round(n / min(bare_s), 1), "propose_people_per_s": round(n / min(propose_s), 1),
        "ratio": round(min(bare_s) / min(propose_s), 3),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
