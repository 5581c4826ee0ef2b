"""Every command on one tiny run."""

import json
import shutil
import subprocess
import sys

import pytest
from running import call, finished_run, training_only, write_config

TEXT = "The [MASK] chases the zebra in the savanna."
COMMANDS = ("pretrain", "evaluate", "predict", "score", "embed", "export", "report", "data")
# the keys of evaluation.json that hold for text, as the contract of the command line fixes them
KEYS = {
    "energy.auroc", "energy.gap", "energy.ladder.word_replaced", "collapse.verdict", "collapse.effective_rank",
    "collapse.std", "collapse.alpha_req", "knn.accuracy", "probe.accuracy", "random_init.knn.accuracy",
    "random_init.probe.accuracy", "text.cross_entropy", "text.perplexity", "text.accuracy", "text.floor",
    "text.calibration_error", "samples_seen", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A copy of the finished run."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    shutil.copytree(finished_run(tmp_path_factory.getbasetemp()), folder)
    return folder


def test_help_names_all_commands_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['mmssl', '--help']\n"
        "import mmssl.cli\n"
        "try: mmssl.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('loaded', *sorted({'torch', 'transformers', 'datasets', 'numpy', 'pydantic'} & {*sys.modules}))"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert end.stdout.splitlines()[-1] == "loaded", end.stdout + end.stderr
    assert all(command in end.stdout for command in COMMANDS)


def test_pretrain_leaves_all_that_the_contract_names(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "evaluation.json",
        "checkpoints",
        "report.html",
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {f"step-00000000{step}" for step in (2, 4, 6)}
    assert (run / "latest").read_text() == "step-000000006\n"


def test_evaluate_writes_the_fixed_keys_flat(run, capsys):
    before = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").unlink()
    assert call("evaluate", run) == 0
    found = json.loads((run / "evaluation.json").read_text())
    assert found.keys() >= KEYS
    assert not [key for key in KEYS if isinstance(found[key], dict | list)]
    assert found["collapse.verdict"] in ("healthy", "partial", "complete")
    assert 0 <= found["energy.auroc"] <= 1
    assert found["text.cross_entropy"] > found["text.floor"] > 0
    assert found["samples_seen"] == 24
    assert {key: found[key] for key in KEYS} == {key: before[key] for key in KEYS}  # as at the end of training
    assert "masked cross-entropy" in capsys.readouterr().out


def test_evaluate_reads_labelled_data_that_the_run_never_saw(run, tmp_path, capsys):
    for label, words in (("hunter", "lion cheetah leopard"), ("prey", "zebra gnu gazelle")):
        (tmp_path / "probe" / label).mkdir(parents=True)
        lines = [f"the {word} runs {number} times" for word in words.split() for number in range(10)]
        (tmp_path / "probe" / label / "text.txt").write_text("\n".join(lines))
    assert call("evaluate", run, f"evaluate.source={tmp_path / 'probe'}", "evaluate.documents=100") == 0
    found = json.loads((run / "evaluation.json").read_text())
    assert found["labelled.classes"] == 2
    assert found["labelled.train"] + found["labelled.test"] == 60
    assert "source: data" in (run / "config.yaml").read_text()  # the run's own config stays


def test_predict_prints_words_with_probabilities(run, capsys):
    assert call("predict", run, TEXT) == 0
    first, words = capsys.readouterr().out.splitlines()
    assert first == TEXT
    shares = [float(part) for part in words.split()[3::2]]
    assert words.startswith("  mask 1: ")
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)


def test_predict_draws_joint_completions_and_writes_them(run, tmp_path, capsys):
    text = "The [MASK] chases the [MASK]."
    assert call("predict", run, text, "--samples", 3, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out.splitlines()
    (found,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (printed[0], len(printed)) == (text, 4)
    assert found["text"] == text
    for sample in found["samples"]:
        assert len(sample["words"]) == 2
        assert sample["log_probability"] < 0
        assert "[MASK]" not in sample["text"]


def test_score_sorts_candidates_by_energy_with_the_clean_text_below_the_corrupted(tmp_path, capsys):
    animals = ["lion", "zebra", "cheetah", "gazelle"]
    lines = [f"the {one} chases the {other}" for one in animals for other in animals] * 12
    (tmp_path / "text.txt").write_text("\n".join([*lines, "once in a kitchen"]))
    learnt = ("train.steps=40", "train.learning_rate=1e-2", "train.log_every_steps=40", "train.save_every_steps=40",
              "train.evaluate_every_steps=40", "train.accumulate=1", "encoder.dropout=0.0")  # fmt: skip
    with training_only():
        overrides = (f"run={tmp_path / 'run'}", f"data.source={tmp_path / 'text.txt'}", *learnt)
        assert call("pretrain", write_config(tmp_path), *overrides) == 0
    capsys.readouterr()
    candidates = ["the kitchen chases the zebra", "once zebra kitchen the a", "the lion chases the zebra"]
    assert call("score", tmp_path / "run", "the cheetah chases", *candidates, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["y"] for one in found] == [candidates[2], candidates[0], candidates[1]]
    assert [one["energy"] for one in found] == sorted(one["energy"] for one in found)
    assert call("score", tmp_path / "run", "the [MASK] chases the zebra", "kitchen", "lion") == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["lion", "kitchen"]


def test_embed_writes_features_with_path_and_label(run, tmp_path):
    from datasets import Dataset

    (tmp_path / "texts" / "prey").mkdir(parents=True)
    (tmp_path / "texts" / "prey" / "a.txt").write_text("a zebra runs\na gnu runs\n")
    out = tmp_path / "deep" / "features.parquet"
    assert call("embed", run, tmp_path / "texts", "--out", out) == 0
    table = Dataset.from_parquet(str(out), cache_dir=str(tmp_path / "cache"))
    assert table.column_names == ["path", "label", "feature"]
    assert table["label"][:] == ["prey", "prey"]
    assert all("a.txt" in path for path in table["path"])
    assert [len(feature) for feature in table["feature"]] == [32, 32]


def test_export_writes_what_stock_transformers_loads(run, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    assert call("export", run, tmp_path / "stock") == 0
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path / "stock")).__name__ == "BertForMaskedLM"
    assert AutoTokenizer.from_pretrained(tmp_path / "stock").mask_token == "[MASK]"


def test_report_writes_one_page_for_one_run_or_several(run, tmp_path, capsys):
    (run / "report.html").unlink()
    assert call("report", run) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert (run / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert call("report", run, other, "--out", tmp_path / "both.html") == 0
    assert "other" in (tmp_path / "both.html").read_text()


def test_data_shows_and_writes_the_masked_rows_and_makes_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("data", write_config(tmp_path), "--out", tmp_path / "sheet") == 0
    sheet = (tmp_path / "sheet" / "sheet.txt").read_text()
    assert sheet in capsys.readouterr().out
    assert "[MASK]" in sheet
    assert "hidden (" in sheet
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_without_arguments_is_a_usage_error(command, capsys):
    assert call(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mmssl: Missing argument '")
    assert line.endswith(f"; got {command}; expected what mmssl {command} --help says")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["predict", "run", "a.png", "--samples", "0"], "Invalid value for '--samples': "),
        (["predict", "run", "a.png", "--samples", "many"], "Invalid value for '--samples': "),
        (["predict", "run", "a.png", "--smaples", "3"], "No such option: --smaples"),
        (["nope"], "No such command 'nope'"),
        (["score", "run", "x\x1b.png"], "Missing argument 'Y...'"),
    ],
)
def test_a_command_that_cannot_be_is_one_line_that_repeats_it(arguments, said, capsys):
    assert call(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mmssl: {said}")
    assert all(word.removesuffix("\x1b.png") in line for word in arguments)
    assert line.isprintable()


def test_help_is_no_error(capsys):
    assert call("--help") == call("pretrain", "--help") == 0
    assert call() == 2
    said = capsys.readouterr()
    assert said.out.count("Usage:") == 3
    assert said.err == ""


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert call("evaluate", tmp_path, "--debug") == 4
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("mmssl: run ")


def test_the_name_of_a_file_cannot_control_a_terminal(tmp_path, capsys):
    assert call("pretrain", tmp_path / "a\x1b[2J\x07.yaml") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\x1b[2J\\x07.yaml" in line
    assert line.isprintable()
