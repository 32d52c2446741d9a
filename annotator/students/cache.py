"""Predictions kept by what they depend on: picture bytes, what was asked, card and weights.

Safe to delete at any time.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from annotator.errors import StorageError, expected
from annotator.skeletons import FloatArray


def key(model_key: str, picture_sha256: str, asked: FloatArray) -> bytes:
    """16 bytes that name one prediction of one network on one person.

    Args:
        model_key: card and weights, see `OnnxModel.key`.
        picture_sha256: of the picture's bytes.
        asked: the person's box, and for a network with prompts the known keypoints, NaN elsewhere.
    """
    text = f"{model_key}|{picture_sha256}|".encode() + np.asarray(asked, dtype=np.float64).tobytes()
    return hashlib.blake2b(text, digest_size=16).digest()


class Cache:
    """SQLite file of packed readouts; threads of one process may share it.

    A value is written in one transaction with its shard's others, so a killed run leaves whole entries only.
    """

    def __init__(self, path: Path | None) -> None:
        where = str(path) if path else ":memory:"
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(where, check_same_thread=False, timeout=60)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS readouts (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(expected("a cache that can be opened (it may be deleted)", error, where)) from error
        self._lock = threading.Lock()
        self._where = where

    def get(self, keys: list[bytes], width: int) -> dict[bytes, FloatArray]:
        """The packed readouts (K, width) that are there."""
        found: dict[bytes, FloatArray] = {}
        try:
            with self._lock:
                for start in range(0, len(keys), 500):
                    part = keys[start : start + 500]
                    marks = ",".join("?" * len(part))
                    rows = self._db.execute(f"SELECT key, value FROM readouts WHERE key IN ({marks})", part)
                    for name, value in rows:
                        found[name] = np.frombuffer(value, dtype=np.float32).reshape(-1, width).astype(np.float64)
        except (sqlite3.Error, ValueError) as error:
            raise StorageError(expected("a cache that can be read (it may be deleted)", error, self._where)) from error
        return found

    def put(self, values: Mapping[bytes, FloatArray]) -> None:
        """Keep packed readouts as 32-bit floats."""
        rows = [(name, np.asarray(value, dtype=np.float32).tobytes()) for name, value in values.items()]
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT OR REPLACE INTO readouts VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise StorageError(
                expected("a cache that can be written (it may be deleted)", error, self._where)
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()
