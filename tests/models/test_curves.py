"""The picture of a run's curves: one a figure of the metrics, at its own place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from annotator.errors import InputError
from models import curves, record


def metrics(folder, *rows):
    for row in rows:
        record.append(folder / record.METRICS, row)


def window(step, **losses):
    return {"epoch": 1, "step": step, "steps": 8, "lr": 1e-3, "images_per_s": 9.0, "eta_s": 0} | losses


def quarters(path):
    """Numbers of coloured pixels in the four panels: losses, checks, rate, speed. Axes and letters are grey."""
    pixels = cv2.imread(str(path)).astype(int)
    coloured = np.ptp(pixels, axis=2) > 60
    height, width = coloured.shape
    return [
        int(coloured[rows, columns].sum())
        for rows in (slice(0, height // 2), slice(height // 2, None))
        for columns in (slice(0, width // 2), slice(width // 2, None))
    ]


def test_losses_checks_rate_and_speed_have_a_panel_each(tmp_path):
    metrics(tmp_path, window(4, loss=2.0, labels=1.0), window(8, loss=1.0, labels=0.5))
    picture = curves.draw(tmp_path)
    assert picture.name == "curves.png"
    loss, check, rate, speed = quarters(picture)
    assert check == 0 and min(loss, rate, speed) > 200
    metrics(tmp_path, {"epoch": 1, "step": 8, "check/coco/oks": 0.5, "check/mpii/pckh": 0.7})
    again = quarters(curves.draw(tmp_path))
    assert again[1] > 50 and again[0] > 200


def test_a_loss_that_comes_later_is_drawn_from_there(tmp_path):
    metrics(tmp_path, window(4, loss=2.0))
    before = quarters(curves.draw(tmp_path))[0]
    metrics(tmp_path, window(8, loss=1.0, another=1.5))
    assert quarters(curves.draw(tmp_path))[0] > before


def test_a_loss_that_is_no_number_is_left_out(tmp_path):
    metrics(tmp_path, window(4, loss=2.0), window(8, loss=float("nan")))
    assert quarters(curves.draw(tmp_path))[0] > 0


def test_a_run_of_checks_alone_has_curves(tmp_path):
    metrics(tmp_path, {"epoch": 8, "step": 8, "check/coco/oks": 0.5})
    assert quarters(curves.draw(tmp_path))[1] > 50


def test_a_run_without_metrics_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: expected the metrics of a run, got none"):
        curves.draw(tmp_path)
    assert not (tmp_path / "curves.png").exists()
