"""Claims about reading a config: files, overrides, defaults, round trip, hash, and the files of the package."""

import hashlib
import json
import subprocess
import sys
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from mmssl import config as config_module
from mmssl import strict_yaml
from mmssl.config import Choice, Config, TrainConfig, differences, dump, hash_of, load_config, packaged, schema
from mmssl.errors import ConfigError

NEEDED = "task: words\nrun: out\n"


def bert(
    network,
    *,
    hidden_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.15,
    unit: Literal["token", "span"] = "token",
    lengths: tuple[int, int] = (1, 10),
): ...


def hinge(network, *, margin: Annotated[float, Field(gt=0)]): ...


def stack(vocabulary, *, layers: Annotated[int, Field(ge=1)] = 12, dropout: float = 0): ...


FUNCTIONS = {"methods": {"bert": bert, "hinge": hinge}, "encoders": {"bert": stack, "roberta": stack}}


@pytest.fixture
def load(tmp_path):
    def load_text(text: str, *overrides: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, overrides, **FUNCTIONS)

    return load_text


@pytest.fixture
def said(load, tmp_path):
    def said_of(text: str, *overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return said_of


def test_what_is_not_given_has_its_default(load):
    config = load(NEEDED)
    assert (config.seed, config.track, config.data.source, config.train.betas) == (0, [], "savanna", (0.9, 0.98))
    assert config.method.name == config.encoder.name == "bert"
    assert config.method.arguments() == {"hidden_ratio": 0.15, "unit": "token", "lengths": (1, 10)}
    assert config.encoder.arguments() == {"layers": 12, "dropout": 0.0}


def test_a_method_is_called_with_the_arguments_of_its_section(load):
    config = load(NEEDED + "method:\n  name: hinge\n  margin: 2\nencoder: {name: roberta, layers: 2}")
    assert config.method.arguments() == {"margin": 2.0}
    assert (config.encoder.name, config.encoder.arguments()) == ("roberta", {"layers": 2, "dropout": 0.0})


def test_the_schema_of_a_function_is_its_keyword_only_parameters():
    model = schema(bert)
    assert set(model.model_fields) == {"name", "hidden_ratio", "unit", "lengths"}
    assert isinstance(model.model_validate({"name": "bert", "hidden_ratio": 0.3}), Choice)
    with pytest.raises(ValidationError):
        model.model_validate({"name": "bert", "hidden_ratio": 1.0})
    with pytest.raises(ValidationError):
        model.model_validate({"name": "bert", "network": 1})


def test_a_config_is_frozen(load):
    config = load(NEEDED)
    with pytest.raises(ValidationError, match="frozen"):
        config.train.steps = 5
    with pytest.raises(ValidationError, match="frozen"):
        config.method.unit = "span"


def test_numbers_and_words_have_the_type_that_is_written(load):
    text = (
        NEEDED + "data: {source: no}\ntrain: {epsilon: 1e-3, learning_rate: 1E5, weight_decay: 1.e3, gradient_clip: 2}"
    )
    train = load(text).train
    assert (train.epsilon, train.learning_rate, train.weight_decay) == (0.001, 1e5, 1000.0)
    assert type(train.gradient_clip) is float
    assert load(text).data.source == "no"


def test_an_override_counts_more_than_the_file_and_the_last_one_most(load):
    text = NEEDED + "train:\n  steps: 5\n  batch_size: 8\n"
    assert load(text).train.steps == 5
    train = load(text, "train.steps=6", "train.steps=7", "train.epsilon=1e-3").train
    assert (train.steps, train.batch_size, train.epsilon) == (7, 8, 0.001)


def test_the_value_of_an_override_is_yaml(load):
    config = load(NEEDED, "track=[tensorboard]", "data.source=[a b, c]", "run=x=y", "method={name: hinge, margin: 3}")
    assert (config.track, config.data.source, config.run) == (["tensorboard"], ["a b", "c"], "x=y")
    assert config.method.arguments() == {"margin": 3.0}
    assert load(NEEDED, 'data.source="*.txt"').data.source == "*.txt"


@pytest.mark.parametrize(
    "override, expected",
    [
        ("train.steps", 'command line: got "train.steps", expected key=value, as in train.steps=100'),
        ("=3", 'command line: got "=3", expected key=value, as in train.steps=100'),
        ("train..steps=3", 'command line: got "train..steps=3", expected key=value, as in train.steps=100'),
        ("trian.steps=3", "command line: trian: unknown key; did you mean 'train'?"),
        ("train.stesp=3", "command line: train.stesp: unknown key; did you mean 'train.steps'?"),
        ("steps=3", "command line: steps: unknown key; did you mean 'train.steps'?"),
        ("train.steps=0", "command line: train.steps: got 0, expected at least 1"),
        ("train.steps=", "command line: train.steps: got nothing, expected an integer"),
        ("train=5", "command line: train: got 5, expected a section of keys"),
        ("task.x=3", 'command line: task.x: task is "words", expected a section of keys'),
        ("method=bert", 'command line: method: got "bert", expected a section, as in {name: bert}'),
        ("method.name=brt", "command line: method.name: got \"brt\"; did you mean 'bert'? expected one of bert, hinge"),
        ("encoder.name=hinge", 'command line: encoder.name: got "hinge"; expected one of bert, roberta'),
    ],
)
def test_a_faulty_override_is_told_as_one(said, override, expected):
    assert said(NEEDED, override) == expected


@pytest.mark.parametrize("value", ["*.txt", "!x", "[", "@a", "{a: 1, a: 2}"])
def test_an_override_that_is_no_yaml_is_told_with_its_key(said, value):
    assert said(NEEDED, f"run={value}").startswith(
        f'command line: run: got "{value}", expected YAML (text in quotes): '
    )


def test_an_override_mends_what_the_file_has_wrong(load, said):
    text = NEEDED + "train:\n  steps: 0\n"
    assert said(text) == "config.yaml:4: train.steps: got 0, expected at least 1"
    assert load(text, "train.steps=1").train.steps == 1
    assert load(text, "train={seconds: 5}").train == TrainConfig(seconds=5)


def test_keys_are_checked_beside_each_other(load, said):
    text = NEEDED + "train:\n  batch_size: 10\n  accumulate: 3\n"
    assert said(text) == "config.yaml:4: train.batch_size: got 10, expected a multiple of train.accumulate (3)"
    assert load(text, "train.accumulate=5").train.accumulate == 5
    stream = NEEDED + "data:\n  streaming: true\n"
    assert said(stream) == "config.yaml:3: data.documents: got 0, expected more than 0 with data.streaming"
    assert load(stream, "data.documents=100").data.streaming is True


@pytest.mark.parametrize("task", ["../words", "words.py", "a/b", "Words", "", "a b", "words\\n"])
def test_a_task_is_a_plain_name(said, task):
    assert "config.yaml:1: task: got " in said(f'task: "{task}"\nrun: out\n')


def test_a_fault_of_the_file_is_told_with_its_line(said, tmp_path):
    assert said(NEEDED + "run: again").startswith("config.yaml:3: key 'run' is given twice, first in line 2")
    assert said(NEEDED + "x: !!python/object/apply:os.system [ls]").startswith("config.yaml:3: tags")
    assert said("- task") == "config.yaml: got [\"task\"], expected keys such as 'task: ...'"
    assert said("# nothing") == "config.yaml: got nothing, expected keys such as 'task: ...'"


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"task: words\nrun: \xff\n", "byte 17 is not UTF-8 text"),
        (b"#" * (2**20 + 1), "expected a config of at most 1 MiB"),
        (None, "is a directory, expected a config file"),
    ],
)
def test_a_file_that_is_no_config_is_told(tmp_path, data, expected):
    path = tmp_path / "a.yaml"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(path, **FUNCTIONS)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_told_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match=f"^{tmp_path}/a.yaml: no such file or directory"):
        load_config(tmp_path / "a.yaml", **FUNCTIONS)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
positive = st.floats(min_value=5e-324, max_value=1.7e308)


@settings(database=None, deadline=None, max_examples=60)
@given(texts, st.lists(texts, min_size=1) | texts, positive, st.integers(0, 2**63 - 1))
@example("1e-3", ["no", "010", "08", "\x85", "null", " "], 1e-6, 7)
def test_a_dumped_config_loads_as_the_same(tmp_path_factory, run, source, rate, seed):
    raw = {"task": "words", "run": run, "seed": seed, "data": {"source": source}, "train": {"learning_rate": rate}}
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(strict_yaml.dump(raw))
    config = load_config(path, **FUNCTIONS)
    assert (config.run, config.data.source, config.train.learning_rate) == (run, source, rate)
    path.write_text(dump(config))
    assert load_config(path, **FUNCTIONS) == config
    assert load_config(path, ["seed=0", "data.workers=3"], **FUNCTIONS) != config


def test_a_dumped_config_states_every_key(load):
    stated = yaml.safe_load(dump(load(NEEDED)))
    assert stated["train"]["betas"] == [0.9, 0.98]
    assert stated["method"] == {"name": "bert", "hidden_ratio": 0.15, "unit": "token", "lengths": [1, 10]}


def test_the_hash_depends_on_values_and_not_on_their_order_or_spelling(load):
    a = load("task: words\nrun: out\ntrain:\n  steps: 5\n  gradient_clip: 2\nmethod: {unit: span, name: bert}")
    b = load(
        "method:\n  name: bert\n  unit: span\ntrain: {gradient_clip: 2.0, steps: 5}\nrun: out\ntask: words\nseed: 0"
    )
    assert hash_of(a) == hash_of(b)
    assert hash_of(a) != hash_of(load(dump(a), "train.steps=6"))
    assert hash_of(a) != hash_of(load(dump(a), "encoder.name=roberta"))


def test_the_hash_is_that_of_the_canonical_json(load):
    config = load(NEEDED)
    canonical = json.dumps(yaml.safe_load(dump(config)), sort_keys=True, separators=(",", ":"))
    assert hash_of(config) == hashlib.sha256(canonical.encode()).hexdigest()


def test_differences_are_told_key_by_key(load):
    a = load(NEEDED)
    b = load(NEEDED, "train.steps=5", "data.source=[x, y]", "method={name: hinge, margin: 2}")
    assert differences(a, a) == []
    assert differences(a, b) == [
        'data.source: "savanna" -> ["x", "y"]',
        'method.name: "bert" -> "hinge"',
        "method.hidden_ratio: 0.15 -> absent",
        'method.unit: "token" -> absent',
        "method.lengths: [1, 10] -> absent",
        "train.steps: 10000 -> 5",
        "method.margin: absent -> 2.0",
    ]


@pytest.fixture(params=["wheel", "clone"])
def package(request, tmp_path, monkeypatch):
    """A package with a config and a task, as they lie in a wheel and in a clone."""
    monkeypatch.setattr(config_module, "PACKAGE", tmp_path / "site" / "mmssl")
    root = tmp_path / "site" / ("mmssl" if request.param == "wheel" else ".")
    for path, text in (root / "configs/quickstart.yaml", NEEDED), (root / "tasks/words.py", ""):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "site/secret.yaml").write_text(NEEDED)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


def test_a_packaged_file_is_found_from_any_folder(package):
    assert packaged("tasks", "words").samefile(package / "tasks/words.py")
    assert packaged("configs", "quickstart.yaml").samefile(package / "configs/quickstart.yaml")
    assert load_config("configs/quickstart.yaml", **FUNCTIONS).task == "words"


def test_a_file_of_the_current_folder_comes_before_a_packaged_one(package, tmp_path):
    (tmp_path / "elsewhere/configs").mkdir()
    (tmp_path / "elsewhere/configs/quickstart.yaml").write_text("task: mine\nrun: out")
    assert load_config("configs/quickstart.yaml", **FUNCTIONS).task == "mine"


@pytest.mark.usefixtures("package")
def test_a_packaged_file_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^configs/quikstart\.yaml: no such file; did you mean 'quickstart'"):
        load_config("configs/quikstart.yaml", **FUNCTIONS)
    with pytest.raises(ConfigError, match=r"^tasks/wrods: no such file; did you mean 'words'\?"):
        packaged("tasks", "wrods")
    for name in "../secret.yaml", "/etc/hostname", "..", "":
        with pytest.raises(ConfigError, match="no such file"):
            packaged("configs", name)


def test_reading_a_config_needs_no_heavy_library():
    code = "import sys, mmssl.config; print(sorted({'torch', 'numpy', 'transformers', 'datasets'} & set(sys.modules)))"
    for extra, expected in ("", "[]"), ("import numpy; ", "['numpy']"):
        found = subprocess.run([sys.executable, "-c", extra + code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected
