"""The paper's loss against numbers worked by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from models import losses

LN2 = math.log(2)
# KL((1/2, 1/2) || (1/4, 3/4)) = 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3)
HALVES_FROM_QUARTERS = 0.5 * math.log(4 / 3)


def raw(*probabilities: float) -> torch.Tensor:
    """Raw outputs (1, 1, bins) whose softmax is this; any constant may be added."""
    return torch.log(torch.tensor([[probabilities]])) + 7


def test_divergence_adds_the_kl_of_both_axes():
    predicted = (raw(0.25, 0.75), raw(0.5, 0.5))
    target = (torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]]))
    # On y: KL((1, 0) || (1/2, 1/2)) = ln 2.
    assert losses.divergence(predicted, target).item() == pytest.approx(HALVES_FROM_QUARTERS + LN2, abs=1e-6)


def test_divergence_of_what_is_predicted_exactly_is_nothing():
    predicted = (raw(0.1, 0.9), raw(0.3, 0.3, 0.4))
    target = (torch.tensor([[[0.1, 0.9]]]), torch.tensor([[[0.3, 0.3, 0.4]]]))
    assert losses.divergence(predicted, target).item() == pytest.approx(0, abs=1e-6)


def test_divergence_from_an_empty_target_is_nothing():
    predicted = (raw(0.25, 0.75), raw(0.5, 0.5))
    assert losses.divergence(predicted, (torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))).item() == 0


def test_divergence_is_computed_in_32_bits_whatever_comes_in():
    predicted = tuple(axis.to(torch.bfloat16) for axis in (raw(0.5, 0.5), raw(0.5, 0.5)))
    target = (torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]]))
    assert losses.divergence(predicted, target).item() == pytest.approx(2 * LN2, abs=1e-6)


def test_map_divergence_pools_the_bins_to_cells():
    # One row of two cells. The four bins of x pool to (1/2, 1/2), the two of y to 1.
    target = (torch.tensor([[[0.1, 0.4, 0.3, 0.2]]]), torch.tensor([[[0.6, 0.4]]]))
    maps = raw(0.25, 0.75)[:, :, None]
    assert maps.shape == (1, 1, 1, 2)
    assert losses.map_divergence(maps, target).item() == pytest.approx(HALVES_FROM_QUARTERS, abs=1e-6)


def test_map_divergence_puts_x_on_columns_and_y_on_rows():
    # Certainly on the right, above: cell (row 0, column 1) of 2 x 2, which the map gives one half.
    target = (torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    maps = torch.log(torch.tensor([[[[0.1, 0.5], [0.2, 0.2]]]]))
    assert losses.map_divergence(maps, target).item() == pytest.approx(LN2, abs=1e-6)


def test_squared_distance_is_from_the_mean_of_the_predicted_distributions():
    # Two bins a pixel. x: halves at 0 and 1/2, mean 1/4. y: quarters at 0, 1/2, 1, 3/2, mean 3/4.
    predicted = (raw(0.5, 0.5), raw(0.25, 0.25, 0.25, 0.25))
    # (1.25 - .25)^2 + (2.75 - .75)^2 = 1 + 4
    found = losses.squared_distance(predicted, torch.tensor([[[1.25, 2.75]]]), split=2.0)
    assert found.item() == pytest.approx(5, abs=1e-5)


def test_conditional_loss_counts_labelled_keypoints_and_is_a_mean_over_people_and_keypoints():
    per_keypoint = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    weight = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    # Sums 1 and 1.5 + 4; mean 3.25; over K = 2.
    assert losses.conditional_keypoint_loss(per_keypoint, weight).item() == pytest.approx(1.625)


@pytest.mark.parametrize("form", ["simcc", "squared"])
def test_an_unlabelled_keypoint_moves_no_gradient(form):
    generator = torch.Generator().manual_seed(0)
    predicted = tuple(torch.randn(2, 3, bins, generator=generator).requires_grad_() for bins in (8, 6))
    target = tuple(torch.full((2, 3, bins), 1 / bins) for bins in (8, 6))
    xy = torch.full((2, 3, 2), 1.5)
    xy[:, 1] = torch.nan
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.5, 0.0, 1.0]])
    squared = losses.squared_distance(predicted, xy, 2.0)
    per_keypoint = squared if form == "squared" else losses.divergence(predicted, target)
    losses.conditional_keypoint_loss(per_keypoint, weight).backward()
    for axis in predicted:
        assert (axis.grad[:, 1] == 0).all()
        assert (axis.grad[:, [0, 2]].abs().sum(dim=-1) > 0).all()


def test_a_teacher_moves_only_the_keypoints_it_knows():
    generator = torch.Generator().manual_seed(0)
    predicted = tuple(torch.randn(1, 3, bins, generator=generator).requires_grad_() for bins in (8, 6))
    mixture = tuple(torch.full((1, 3, bins), 1 / bins) for bins in (8, 6))
    losses.distillation_loss(losses.divergence(predicted, mixture), torch.tensor([[0.9, 0.0, 0.0]])).backward()
    assert [bool((axis.grad[0, k] != 0).any()) for axis in predicted for k in range(3)] == [True, False, False] * 2


def test_total_weighs_labels_and_teachers_as_the_paper_does():
    teachers = {"coco": torch.tensor(1.0), "mpii": torch.tensor(4.0)}
    # .3 x 2 + .7 x (.45 x 1 + .25 x 4) = .6 + .7 x 1.45
    total = losses.total_loss(torch.tensor(2.0), teachers, losses.ALPHA, {"coco": 0.45, "mpii": 0.25})
    assert total.item() == pytest.approx(1.615)


def test_total_without_teachers_is_alpha_of_the_labels():
    assert losses.total_loss(torch.tensor(2.0), {}, 0.3, {}).item() == pytest.approx(0.6)
