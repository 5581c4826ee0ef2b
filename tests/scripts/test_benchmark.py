import importlib
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def benchmark_text():
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("benchmark_text")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def benchmark(benchmark_text):
    return importlib.import_module("benchmark")


@pytest.fixture(scope="module")
def workspace(benchmark_text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    source = folder / "source.txt"
    source.write_text("\n".join(benchmark_text.synthetic_lines(800)), "utf-8")
    benchmark_text.prepare(folder, str(source))
    return folder


def real_ratio(benchmark_text, batches, count):
    chosen = [next(batches)["attention_mask"] for _ in range(count)]
    return sum(mask.sum().item() for mask in chosen) / sum(mask.numel() for mask in chosen)


def test_lines_padded_to_the_longest_of_a_batch_are_half_real(benchmark_text, workspace):
    torch.manual_seed(0)
    assert 0.48 < real_ratio(benchmark_text, benchmark_text.batches_of("a", workspace), 30) < 0.58


def test_grouped_blocks_hold_no_padding(benchmark_text, workspace):
    batches = benchmark_text.batches_of("b", workspace)
    assert real_ratio(benchmark_text, batches, 3) == 1.0
    assert next(batches)["input_ids"].shape == (16, 128)


def test_special_tokens_are_never_hidden_by_the_stock_collator(benchmark_text, workspace):
    labels = next(benchmark_text.batches_of("b", workspace))["labels"]
    assert labels[labels != -100].min() >= len(benchmark_text.SPECIAL)


def test_blocks_drop_the_remainder_only(benchmark_text):
    blocks = benchmark_text.blocks_of([list(range(100)), list(range(100, 300))])
    assert blocks.tolist() == [list(range(128)), list(range(128, 256))]


def test_held_out_lines_are_not_trained_on(benchmark_text, workspace):
    trained, heldout = benchmark_text.split_lines(workspace)
    assert len(heldout) == 40
    assert not set(trained) & set(heldout)


def test_validation_hides_the_same_ordinary_tokens_each_time(benchmark_text, workspace):
    first, second = (benchmark_text.validation_of(workspace) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second))
    assert first.hidden.shape[1] == 19
    assert first.answer.min() >= len(benchmark_text.SPECIAL)
    assert (first.ids.gather(1, first.hidden) == benchmark_text.SPECIAL.index("[MASK]")).all()


def test_validation_loss_of_equal_logits_is_the_log_of_the_vocabulary(benchmark_text, workspace):
    validation = benchmark_text.validation_of(workspace)
    loss = benchmark_text.validation_loss(lambda part: torch.zeros(*part.answer.shape, 16384), validation)
    assert loss == pytest.approx(9.704061)  # ln 16384
    knowing = benchmark_text.validation_loss(
        lambda part: 50.0 * torch.nn.functional.one_hot(part.answer, 16384), validation
    )
    assert knowing < 1e-6


def test_a_source_without_lines_is_refused(benchmark_text, tmp_path):
    with pytest.raises(ValueError, match="found no line of text"):
        benchmark_text.read_lines(str(tmp_path))


def test_flops_of_a_token_match_a_count_by_hand(benchmark):
    # 4 layers x (4 x 65,536 + 2 x 262,144) weights, 0.15 x (65,536 + 4,194,304) of the head; 12 x 4 x 128 x 256.
    assert benchmark.flops_per_token() == pytest.approx(6 * (3_145_728 + 638_976) + 1_572_864)


def test_two_steps_of_stock_training_are_counted(benchmark_text, workspace):
    measured = benchmark_text.stock("b", workspace, benchmark_text.Budget(0.01))
    assert measured.steps >= 1
    assert measured.real_tokens == measured.slots == measured.steps * 2048


@pytest.mark.parametrize("progress, factor", [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0), (1.2, 0.0)])
def test_schedule_rises_for_a_tenth_and_falls_to_zero(benchmark_text, progress, factor):
    assert benchmark_text.linear_schedule(progress) == pytest.approx(factor)
