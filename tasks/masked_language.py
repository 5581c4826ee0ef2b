"""Masked language pretraining: text in, hidden words predicted from the words around them.

Copy this file to start a task of your own: `main` trains; the other functions answer the commands of the same name.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mmssl.checkpoint import Restored
from mmssl.config import Config
from mmssl.errors import ConfigError
from mmssl.evaluate.heldout import heldout_batches, heldout_metrics
from mmssl.evaluate.labelled import labelled_text
from mmssl.evaluate.text import evaluate_text
from mmssl.evaluate.words import sample, score_text
from mmssl.methods import METHODS
from mmssl.modalities.text import Vocabulary, load_tokenizer, vocabulary
from mmssl.modalities.text_data import TextData, prepare, reopen
from mmssl.models import ENCODERS
from mmssl.models.encoder import longest
from mmssl.objectives import Objective
from mmssl.pretraining import pretrain, trained
from mmssl.report import write_report
from mmssl.report.terminal import completions, show_candidates, show_completions, show_results, show_words
from mmssl.runs import open_folder, record_bad, write_json
from mmssl.train import launch, reseed, restore_weights

HELDOUT = 64  # rows that are looked at while training


def build(config: Config, words: Vocabulary) -> Objective:
    """The objective with its first weights, a function of the config and the seed."""
    reseed(config.seed)
    encoder = ENCODERS[config.encoder.name](words, **config.encoder.arguments())
    reach = longest(encoder, config.data.row_length)
    if config.data.row_length > reach:
        raise ConfigError(
            f"data.row_length {config.data.row_length}: the encoder has {reach} positions; expected no more"
        )
    return METHODS[config.method.name](encoder, words, **config.method.arguments())


def read(config: Config) -> TextData:
    """The packed rows of the config's sources."""
    pairs = bool(config.method.arguments().get("next_sentence", False))
    return prepare(config, Path(config.run), partial(record_bad, Path(config.run)), next_sentence=pairs)


def restored(config: Config, found: Restored) -> tuple[Objective, Vocabulary]:
    """A run's objective with the weights of its checkpoint, and its vocabulary."""
    words = vocabulary(load_tokenizer(Path(config.run) / "tokenizer"))
    objective = build(config, words)
    restore_weights(objective, found.tensors["model"])
    return objective.eval(), words


def main(config: Config, *, changed: tuple[str, ...] = ()) -> None:
    """Pretrain, then evaluate and write the report."""
    accelerator = launch(config)
    with open_folder(config, changed=changed):
        with accelerator.main_process_first():
            data = read(config)
        objective = build(config, data.vocabulary)
        heldout = partial(heldout_batches, data.heldout, config.seed, HELDOUT)
        run = pretrain(
            objective, config, accelerator, data, tokens_per_sample=data.tokens_per_sample,
            evaluation=partial(heldout_metrics, batches=heldout),
        )  # fmt: skip
        if accelerator.is_main_process:
            objective = trained(run, partial(build, config, data.vocabulary))
            finish(objective, config, data, run.samples_seen, run.seconds)


def finish(objective: Objective, config: Config, data: TextData, samples_seen: int, seconds: float) -> None:
    """Measure, write evaluation.json and report.html, and say what was found."""
    labelled = labelled_text(config, partial(record_bad, Path(config.run)))
    results = evaluate_text(objective, config, data, partial(build, config, data.vocabulary), labelled)
    results |= {"samples_seen": samples_seen, "seconds": seconds}
    results["completions"] = completions(objective, config, data.vocabulary)
    write_json(Path(config.run) / "evaluation.json", results)
    page = write_report([Path(config.run)])
    show_results(results)
    show_completions(results["completions"])
    print(f"\nrun folder  {config.run}\nreport      {page}")


def evaluate(config: Config, found: Restored) -> None:
    """`mmssl evaluate RUN`."""
    objective, _ = restored(config, found)
    data = reopen(config, Path(config.run)) or read(config)
    finish(objective, config, data, found.state["samples_seen"], found.state["seconds"])


def predict(config: Config, found: Restored, inputs: list[str], *, samples: int, out: Path | None) -> None:
    """`mmssl predict RUN TEXT...`: the best words at each mask, or `samples` joint completions."""
    objective, words = restored(config, found)
    if samples == 1:
        found_words = completions(objective, config, words, inputs)
        show_words(found_words)
    else:
        reach = longest(objective.encoder, config.data.row_length)
        found_words = [
            {"text": text, "samples": [one._asdict() for one in sample(objective, words, text, reach, samples=samples)]}
            for text in inputs
        ]
        for one in found_words:
            print(one["text"])
            for drawn in one["samples"]:
                print(f"  {drawn['text']}  (log p {drawn['log_probability']:.2f})")
    if out is not None:
        write_json(out / "predictions.json", found_words)


def score(config: Config, found: Restored, x: str, candidates: list[str], *, as_json: bool) -> None:
    """`mmssl score RUN X Y...`: the energy of each candidate in nats, lowest first."""
    objective, words = restored(config, found)
    reach = longest(objective.encoder, config.data.row_length)
    energies = [{"y": y, "energy": score_text(objective, words, x, y, reach)} for y in candidates]
    show_candidates(sorted(energies, key=lambda one: one["energy"]), as_json=as_json)


def embed(config: Config, found: Restored, data: str, out: Path) -> None:
    """`mmssl embed RUN DATA --out FILE`."""
    from mmssl.evaluate.features import write_features

    objective, words = restored(config, found)
    write_features(objective.encoder, words, config, data, out)


def export(config: Config, found: Restored, folder: Path) -> None:
    """`mmssl export RUN DIR`."""
    from mmssl.models.export import export_text

    objective, words = restored(config, found)
    export_text(objective.encoder, words, folder)


def preview(config: Config, *, out: Path | None) -> None:
    """`mmssl data CONFIG`: the first rows as the model will see them."""
    from mmssl.report.sheet import show_rows

    with TemporaryDirectory() as folder:
        elsewhere = config.model_copy(update={"run": folder})
        data = read(elsewhere)
        show_rows(build(elsewhere, data.vocabulary), data, config.seed, out)
