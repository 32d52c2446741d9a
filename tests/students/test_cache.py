"""Predictions are kept under everything they depend on, whole or not at all."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.errors import FormatError, StorageError
from annotator.students import cache
from annotator.students import card as cards
from annotator.students.base import readouts
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from tests import networks
from tests.conftest import ROOT
from tests.students.test_onnx import scene

WIDTH = 10
BOX = np.array([1.0, 2.0, 30.0, 40.0])
MAY_BE_DELETED = r"expected a cache that can be (opened|read|written) \(it may be deleted\), got"


def value(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 100, (21, WIDTH))


def test_what_is_kept_comes_back_as_32_bit_floats(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "deep" / "readouts.sqlite")
    some = value(0)
    some[3] = np.nan
    kept.put({b"a": some})
    kept.close()
    again = Cache(tmp_path / "deep" / "readouts.sqlite").get([b"a", b"unknown"], WIDTH)
    assert list(again) == [b"a"] and again[b"a"].dtype == np.float64
    np.testing.assert_array_equal(again[b"a"], some.astype(np.float32))


def test_more_keys_than_sqlite_takes_at_once_are_found() -> None:
    kept = Cache(None)
    kept.put({b"%d" % i: np.full((1, WIDTH), i) for i in range(1234)})
    found = kept.get([b"%d" % i for i in range(1234)], WIDTH)
    assert [found[b"%d" % i][0, 0] for i in range(1234)] == list(range(1234))


def test_the_key_is_another_for_another_model_picture_or_question() -> None:
    keys = [
        cache.key("model", "picture", BOX),
        cache.key("model2", "picture", BOX),
        cache.key("model", "picture2", BOX),
        *(cache.key("model", "picture", BOX + np.eye(4)[i] * 1e-9) for i in range(4)),
        cache.key("model", "picture", asked=np.append(BOX, [5.0, 6.0])),  # a known keypoint
    ]
    assert len(set(keys)) == 8 and {len(key) for key in keys} == {16}


@given(st.text("ab|", max_size=6), st.text("ab", max_size=6), st.text("ab|", max_size=6), st.text("ab", max_size=6))
def test_no_two_models_and_pictures_share_a_key(m1: str, p1: str, m2: str, p2: str) -> None:
    """A picture's name is a digest, which has no bar in it."""
    assert (cache.key(m1, p1, BOX) == cache.key(m2, p2, BOX)) == ((m1, p1) == (m2, p2))


def opened(card_path: Path, **changed: object) -> OnnxModel:
    card = cards.load(card_path).model_copy(update=changed)
    return OnnxModel(card, card_path.parent / card.file)


def test_a_models_key_is_another_for_another_card_or_other_weights_alone(tmp_path: Path) -> None:
    card_path = networks.random_student(tmp_path / "one")
    model = opened(card_path)
    same = [
        {"figures": {"AP": "0"}},
        {"failures": ("small people",)},
        {"terms": "none"},
        {"default": True},
        {"trust": {"nose": 0.5}},
        {"role": "teacher"},
    ]
    assert {opened(card_path, **changed).key for changed in same} == {model.key}
    crop, output = model.card.crop, model.card.output
    others = [
        {"crop": crop.model_copy(update={"factor": 1.3})},
        {"output": output.model_copy(update={"smooth_px": 1.0})},
        {"input": model.card.input.model_copy(update={"batch": 4})},
        {"flip_test": False},
        {"keypoint_offset_px": {"nose": (0.0, 1.0)}},
    ]
    different = {opened(card_path, **changed).key for changed in others}
    other_weights = opened(networks.random_student(tmp_path / "two", seed=1)).key
    assert len(different | {other_weights, model.key}) == len(others) + 2


def test_a_prediction_is_made_once_and_again_when_the_picture_or_the_box_changes(tmp_path: Path) -> None:
    model, kept = opened(networks.random_student(tmp_path)), Cache(tmp_path / "readouts.sqlite")

    def known() -> int:
        with closing(sqlite3.connect(tmp_path / "readouts.sqlite")) as db:
            return int(db.execute("SELECT count(*) FROM readouts").fetchone()[0])

    images, table = scene(tmp_path)
    first = readouts([model], images, table, kept)[0][0].pack()
    again = readouts([model], images, table, kept)[0][0].pack()
    assert known() == 1 and first.tobytes() == again.tobytes()
    readouts([model], images, replace(table, bbox_xywh=table.bbox_xywh + 1), kept)
    assert known() == 2
    readouts([model], scene(tmp_path, spot=(10, 10))[0], table, kept)
    assert known() == 3


def test_a_prediction_that_is_kept_is_not_made_again(tmp_path: Path) -> None:
    model, kept = opened(networks.random_student(tmp_path)), Cache(None)
    images, table = scene(tmp_path)
    first = readouts([model], images, table, kept)[0][0].pack()
    model.path.unlink()  # a new session could not be opened
    fresh = pickle.loads(pickle.dumps(model))
    assert readouts([fresh], images, table, kept)[0][0].pack().tobytes() == first.tobytes()
    with pytest.raises(FormatError, match="expected an ONNX network"):
        readouts([fresh], images, table, Cache(None))


def test_threads_share_a_cache(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "readouts.sqlite")

    def work(thread: int) -> int:
        for i in range(25):
            kept.put({b"%d/%d" % (thread, i): value(i)})
            assert kept.get([b"%d/%d" % (thread, i)], WIDTH)
        return len(kept.get([b"%d/%d" % (t, i) for t in range(4) for i in range(25)], WIDTH))

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(4))) == 100


WRITER = """
import sys
from pathlib import Path
import numpy as np
from annotator.students.cache import Cache
kept = Cache(Path(sys.argv[1]))
for shard in range(10**6):
    kept.put({b"%d/%d" % (shard, i): np.full((21, 10), shard) for i in range(64)})
    print(shard, flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_shards(tmp_path: Path) -> None:
    path = tmp_path / "readouts.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    with writer.stdout:
        last = int([writer.stdout.readline() for _ in range(5)][-1])
        time.sleep(0.013)
        os.kill(writer.pid, signal.SIGKILL)
        said = [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    done = max(said, default=last)
    kept = Cache(path)
    for shard in range(done + 3):
        found = kept.get([b"%d/%d" % (shard, i) for i in range(64)], WIDTH)
        assert len(found) == 64 if shard <= done else len(found) in (0, 64)
        assert all((whole == shard).all() and whole.shape == (21, WIDTH) for whole in found.values())


def test_a_file_that_is_no_cache_may_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "readouts.sqlite").write_bytes(b"no database, though as long as one" * 100)
    with pytest.raises(StorageError, match=MAY_BE_DELETED):
        Cache(tmp_path / "readouts.sqlite")


@pytest.mark.parametrize("what", ["pages", "a value"])
def test_a_broken_cache_may_be_deleted(tmp_path: Path, what: str) -> None:
    path = tmp_path / "readouts.sqlite"
    kept = Cache(path)
    kept.put({b"%d" % i: value(i) for i in range(100)})
    kept.close()
    if what == "pages":
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
    else:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE readouts SET value = x'0102'")
    kept = Cache(path)
    with pytest.raises(StorageError, match=MAY_BE_DELETED) as error:
        kept.get([b"%d" % i for i in range(100)], WIDTH)
    assert str(path) in str(error.value)
    kept.close()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder is meant")
    with pytest.raises(StorageError, match=MAY_BE_DELETED):
        Cache(tmp_path / "cache" / "readouts.sqlite")
