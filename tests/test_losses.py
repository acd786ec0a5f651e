"""Tests of the objective and of mixed pictures, against the formulas written out."""

import math

import pytest
import torch
from torch.nn import functional

from mien.config import TrainConfig
from mien.training.losses import Objective
from mien.training.mixing import _with_a_part_of, mix

COUNTS = torch.tensor([90.0, 9.0, 1.0])
LOGITS = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]])
TARGETS = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
ONES = torch.ones(2)


def test_plain_recipe_is_cross_entropy() -> None:
    loss = Objective(TrainConfig(), COUNTS)(LOGITS, TARGETS, ONES)
    torch.testing.assert_close(loss, functional.cross_entropy(LOGITS, TARGETS))


def test_smoothing_and_weights_of_samples() -> None:
    objective = Objective(TrainConfig(label_smoothing=0.1), COUNTS)
    each = functional.cross_entropy(LOGITS, TARGETS, label_smoothing=0.1, reduction="none")
    loss = objective(LOGITS, TARGETS, torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(loss, (3 * each[0] + each[1]) / 4)


def test_a_batch_that_counts_nothing_is_finite() -> None:
    assert Objective(TrainConfig(), COUNTS)(LOGITS, TARGETS, 0 * ONES) == 0


def test_logit_adjustment_asks_for_a_margin() -> None:
    """Menon et al. 2021, eq. 10: log(1 + sum of (pi'/pi)^t exp(f' - f)) over the others."""
    one = torch.tensor([[0.0, 0.0, 1.0]])
    loss = Objective(TrainConfig(logit_adjustment=1.0), COUNTS)(LOGITS[1:], one, ONES[:1])
    f = LOGITS[1].tolist()
    others = 90 * math.exp(f[0] - f[2]) + 9 * math.exp(f[1] - f[2])
    assert float(loss) == pytest.approx(math.log1p(others), rel=1e-5)


def test_balance_weighs_by_number() -> None:
    each = functional.cross_entropy(LOGITS, TARGETS, reduction="none")
    objective = Objective(TrainConfig(balance=1.0), COUNTS)
    loss = objective(LOGITS, TARGETS, objective.worth(TARGETS, ONES))
    weights = TARGETS @ (1 / COUNTS)
    torch.testing.assert_close(loss, (each * weights).sum() / weights.sum())


def test_the_best_logits_have_the_tilt_more_than_the_true_ones() -> None:
    true = torch.tensor([0.5, 0.3, 0.2])
    objective = Objective(TrainConfig(balance=0.7, logit_adjustment=0.4), COUNTS)
    logits = (true.log() + objective.tilt).requires_grad_()
    worth = objective.worth(torch.eye(3), true)
    objective(logits.expand(3, 3), torch.eye(3), worth).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(3), atol=1e-6, rtol=0)


def test_emphasis_multiplies_the_balance() -> None:
    each = functional.cross_entropy(LOGITS, TARGETS, reduction="none")
    emphasis = torch.tensor([1.0, 1.0, 5.0])
    objective = Objective(TrainConfig(), COUNTS)
    loss = objective(LOGITS, TARGETS, objective.worth(TARGETS, ONES, emphasis))
    torch.testing.assert_close(loss, (each[0] + 5 * each[1]) / 6)


def test_a_loss_is_shared_by_the_weights_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one's part of the batch may weigh more: here as much as makes a mean of three."""
    objective = Objective(TrainConfig(), COUNTS)
    alone = objective(LOGITS, TARGETS, ONES)
    monkeypatch.setattr("mien.training.losses.mean_of_all", lambda total: total * 3)
    torch.testing.assert_close(objective(LOGITS, TARGETS, ONES) * 3, alone)


def test_parts_of_all_sizes_are_put_into_pictures() -> None:
    """Their area is drawn evenly (Yun et al. 2019, arXiv:1905.04899), less what lies outside."""
    torch.manual_seed(0)
    images = torch.rand(2, 1, 48, 48)
    left = [_with_a_part_of(images, images.flip(0))[1] for _ in range(3000)]
    # The mean of (L - L^2 / 4)^2, of a square of side L about a point anywhere, L^2 even in 0..1.
    assert 1 - sum(left) / len(left) == pytest.approx(0.5 - 0.2 + 1 / 48, abs=0.015)


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_targets_follow_what_is_seen(settings: dict[str, float]) -> None:
    """Every picture is of one grey level that is its label, so its mean says what it must be."""
    torch.manual_seed(1)
    labels = torch.arange(6)
    images = (labels / 5.0)[:, None, None, None].expand(6, 1, 48, 48).contiguous()
    mixed = 0
    for _ in range(20):
        config = TrainConfig(**settings)  # type: ignore[arg-type]
        seen, targets, weights = mix(images, torch.eye(6), torch.ones(6), config)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(weights, torch.ones(6))
        torch.testing.assert_close(seen.mean(dim=(1, 2, 3)), targets @ (labels / 5.0))
        mixed += int(((targets > 0).sum(dim=1) > 1).any())
    assert mixed > 10


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_what_counts_nothing_teaches_nothing_within_a_mixture(settings: dict[str, float]) -> None:
    torch.manual_seed(1)
    config = TrainConfig(**settings)  # type: ignore[arg-type]
    worth = torch.tensor([1.0, 0.0, 2.0, 0.0])
    for _ in range(20):
        _, targets, weights = mix(torch.rand(4, 1, 16, 16), torch.eye(4), worth, config)
        counting = weights > 0
        assert targets[counting][:, worth == 0].abs().max() == 0
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
        assert weights.min() >= 0 and weights.max() <= 2


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_emotions_that_count_alike_do_so_within_mixtures(settings: dict[str, float]) -> None:
    torch.manual_seed(1)
    config = TrainConfig(balance=1.0, **settings)  # type: ignore[arg-type]
    targets = torch.eye(2)[[0] * 9_000 + [1] * 1_000]
    worth = Objective(config, targets.sum(dim=0)).worth(targets, torch.ones(10_000))
    _, mixed, weights = mix(torch.zeros(10_000, 1, 2, 2), targets, worth, config)
    assert ((mixed > 0).sum(dim=1) > 1).any()
    common, rare = (weights[:, None] * mixed).sum(dim=0)
    assert float(rare) == pytest.approx(float(common), rel=1e-3)


def test_without_probability_nothing_is_mixed_and_nothing_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images, targets = torch.rand(4, 1, 16, 16), torch.eye(4)
    torch.set_rng_state(before)
    ones = torch.ones(4)
    assert mix(images, targets, ones, TrainConfig()) == (images, targets, ones)
    assert torch.equal(torch.get_rng_state(), before)
