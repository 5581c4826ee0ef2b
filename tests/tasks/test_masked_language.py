"""The task: from a config to an objective, its data, and back from a checkpoint."""

import pytest
import torch
from running import finished_run, same, write_config

from mmssl.config import load_config
from mmssl.errors import ConfigError
from mmssl.runs import open_task, task_of
from mmssl.train import tensors_of


@pytest.fixture
def config(tmp_path):
    return load_config(write_config(tmp_path), [f"run={tmp_path / 'run'}"])


def test_build_is_a_function_of_config_and_seed(config, savanna_vocabulary):
    build = task_of(config).build
    torch.manual_seed(1)
    first = tensors_of(build(config, savanna_vocabulary))
    torch.manual_seed(2)
    assert same(tensors_of(build(config, savanna_vocabulary)), first)
    assert not same(tensors_of(build(config.model_copy(update={"seed": 1}), savanna_vocabulary)), first)


@pytest.mark.parametrize("method", ["roberta", "xlm_roberta", "modernbert", "text_denoising"])
def test_build_makes_each_masked_method(tmp_path, savanna_vocabulary, method):
    config = load_config(write_config(tmp_path), [f"method.name={method}"])
    objective = task_of(config).build(config, savanna_vocabulary)
    assert objective.encoder.width == 32


def test_build_refuses_a_method_that_does_not_fit_the_encoder(tmp_path, savanna_vocabulary):
    config = load_config(write_config(tmp_path), ["method.name=collobert_weston"])
    with pytest.raises(ConfigError, match=r"expected encoder\.name window"):
        task_of(config).build(config, savanna_vocabulary)


def test_read_gives_the_same_rows_and_fingerprint_each_time(config):
    task = task_of(config)
    first, again = task.read(config), task.read(config)
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.train(torch.arange(5).numpy())["text"][0], again.train(torch.arange(5).numpy())["text"][0])
    assert first.summary().startswith(f"data: {sum(first.sizes):,} rows of 64 tokens")


def test_read_gives_sentence_pairs_where_the_method_asks_for_them(tmp_path):
    config = load_config(write_config(tmp_path), [f"run={tmp_path / 'run'}", "method.next_sentence=true"])
    data = task_of(config).read(config)
    assert data.train.channels == ("text", "next_sentence")


def test_restored_gives_the_weights_of_the_checkpoint_in_evaluation_mode(tmp_path_factory):
    task, config, found = open_task(finished_run(tmp_path_factory.getbasetemp()))
    objective, words = task.restored(config, found)
    assert same(dict(tensors_of(objective)), found.tensors["model"])
    assert not objective.training
    assert words.size == objective.encoder.stock.config.vocab_size
    assert not same(tensors_of(task.build(config, words)), found.tensors["model"])
