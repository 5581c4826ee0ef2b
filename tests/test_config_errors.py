"""Claims about what is said of a faulty config: one line, with the place and the key that was meant."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from mmssl.config import Config, Section, TrainConfig, load_config
from mmssl.errors import ConfigError

NEEDED = "task: words\nrun: out\n"


def bert(network, *, hidden_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.15, whole_word: bool = False): ...


def hinge(network, *, margin: Annotated[float, Field(gt=0)], order: Literal["token", "span"] = "token"): ...


def stack(vocabulary, *, layers: Annotated[int, Field(ge=1)] = 12, dropout: float = 0.1): ...


METHODS, ENCODERS = {"bert": bert, "hinge": hinge}, {"bert": stack, "roberta": stack}


@pytest.fixture
def load(tmp_path):
    """Load a text as a file config.yaml, of which the errors say only the name."""

    def load_text(text: str, *overrides: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, overrides, methods=METHODS, encoders=ENCODERS)

    return load_text


@pytest.fixture
def said(load, tmp_path):
    def said_of(text: str, *overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return said_of


@pytest.mark.parametrize(
    "entry, expected",
    [
        ("batch_size: 8", "config.yaml:3: batch_size: unknown key; did you mean 'train.batch_size'?"),
        ("hidden_ratio: 0.2", "config.yaml:3: hidden_ratio: unknown key; did you mean 'method.hidden_ratio'?"),
        ("data: {lowercase: true}", "config.yaml:3: data.lowercase: unknown key; did you mean 'tokenizer.lowercase'?"),
        ("data: {documentz: 1}",
         "config.yaml:3: data.documentz: unknown key; did you mean 'data.document' or 'data.documents'?"),
        ("text_column: a",
         "config.yaml:3: text_column: unknown key; did you mean 'data.text_column' or 'evaluate.text_column'?"),
        ("learning_rat: 1e-3", "config.yaml:3: learning_rat: unknown key; did you mean 'train.learning_rate'?"),
        ("train:\n  Batch-Size: 8", "config.yaml:4: train.Batch-Size: unknown key; did you mean 'train.batch_size'?"),
        ("encoder: {zzz: 1}", "config.yaml:3: encoder.zzz: unknown key; expected one of name, layers, dropout"),
        ("train: {steps: '12'}", 'config.yaml:3: train.steps: got "12", expected an integer'),
        ("train: {steps: 1.0}", "config.yaml:3: train.steps: got 1.0, expected an integer"),
        ("train: {steps: true}", "config.yaml:3: train.steps: got true, expected an integer"),
        ("train: {steps: }", "config.yaml:3: train.steps: got nothing, expected an integer"),
        ("train: {steps: 0}", "config.yaml:3: train.steps: got 0, expected at least 1"),
        ("train: {learning_rate: '1e-3'}", 'config.yaml:3: train.learning_rate: got "1e-3", expected a number'),
        ("train: {learning_rate: 0}", "config.yaml:3: train.learning_rate: got 0, expected more than 0.0"),
        ("train: {learning_rate: .inf}", "config.yaml:3: train.learning_rate: got Infinity, expected a finite number"),
        ("train: {warmup_ratio: 1.5}", "config.yaml:3: train.warmup_ratio: got 1.5, expected at most 1.0"),
        ("train: {betas: 0.9}", "config.yaml:3: train.betas: got 0.9, expected a list"),
        ("train: {betas: [0.9, 1]}", "config.yaml:3: train.betas.1: got 1, expected less than 1.0"),
        ("train: {betas: [0.9]}", "config.yaml:3: train.betas.1: got nothing, expected a value, for it has no default"),
        ("train: {precision: fp16}", "config.yaml:3: train.precision: got \"fp16\", expected 'auto', 'fp32' or 'bf16'"),
        ("train: {keep_checkpoints: 1}", "config.yaml:3: train.keep_checkpoints: got 1, expected at least 2"),
        ("tokenizer: {lowercase: no}", 'config.yaml:3: tokenizer.lowercase: got "no", expected true or false'),
        ("data: {source: 5}", "config.yaml:3: data.source: got 5, expected text or a list"),
        ("data: {source: []}", "config.yaml:3: data.source: got [], expected text or a list of at least 1"),
        ("data:\n  source:\n  - a\n  - 3", "config.yaml:6: data.source.1: got 3, expected text"),
        ("data: {heldout: 1.0}", "config.yaml:3: data.heldout: got 1.0, expected less than 1.0 or text"),
        ("data: {split: ''}", 'config.yaml:3: data.split: got "", expected text that is not empty'),
        ("train: 5", "config.yaml:3: train: got 5, expected a section of keys"),
        ("train:", "config.yaml:3: train: got nothing, expected a section of keys"),
        ("track: tensorboard", 'config.yaml:3: track: got "tensorboard", expected a list'),
        ("method: {hidden_ratio: 1}", "config.yaml:3: method.hidden_ratio: got 1, expected less than 1.0"),
        ("method: bert", 'config.yaml:3: method: got "bert", expected a section, as in {name: bert}'),
        ("method: {name: brt}",
         'config.yaml:3: method.name: got "brt"; ' "did you mean 'bert'? expected one of bert, hinge"),
        ("method: {name: 7}", "config.yaml:3: method.name: got 7; expected one of bert, hinge"),
        ("method: {name: hinge}", "config.yaml:3: method.margin: got nothing, expected a value, for it has no default"),
        ("encoder: {layers: 1.5}", "config.yaml:3: encoder.layers: got 1.5, expected an integer"),
    ],
)  # fmt: skip
def test_the_line_names_place_key_what_came_and_what_was_expected(said, entry, expected):
    assert said(NEEDED + entry) == expected


def test_a_missing_key_without_default_is_named(said):
    assert said("run: out") == "config.yaml: task: got nothing, expected a value, for it has no default"


def test_a_misspelt_key_is_named_before_the_one_that_it_leaves_missing(said):
    assert said("tsak: words\nrun: out") == "config.yaml:1: tsak: unknown key; did you mean 'task'? (+1 more)"


def test_one_fault_is_told_and_the_others_counted(said):
    faults = "train:\n  steps: 0\n  batch_size: -1\ndata:\n  source: 5\n"
    assert said(NEEDED + faults).endswith("(+2 more)")
    assert "more)" not in said(NEEDED + "data:\n  source: 5\n")


def test_text_of_several_lines_is_told_in_one(said):
    assert said(NEEDED + 'train: {precision: "a\\nb\\u2028c"}').startswith('config.yaml:3: train.precision: got "a')


def test_a_long_value_is_cut(said):
    assert len(said(NEEDED + f"train: {{steps: {'x' * 5000}}}")) < 160


def test_a_text_for_a_number_is_refused_only_where_the_model_is_strict():
    class Lax(TrainConfig, strict=False): ...

    assert Lax.model_validate_json('{"steps": "12"}').steps == 12
    assert Section.model_config.get("strict") is True
