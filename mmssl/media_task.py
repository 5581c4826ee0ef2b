"""What all tasks on pictures, sounds and videos do alike; a task names its modalities and what it measures."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mmssl.batch import Batch
from mmssl.checkpoint import Restored
from mmssl.config import Config
from mmssl.errors import ConfigError, DataError
from mmssl.evaluate.across import compared_things
from mmssl.evaluate.completion import completed
from mmssl.evaluate.continuations import clips_of, continued, sides
from mmssl.evaluate.heldout import heldout_metrics
from mmssl.evaluate.media import evaluate_media, numbered, prepared
from mmssl.evaluate.media_features import VIEWS_OF
from mmssl.evaluate.missing import filled_in
from mmssl.evaluate.negatives import Negatives
from mmssl.evaluate.readout import Readout, readouts_of
from mmssl.footprint import tokens_of
from mmssl.inputs import Inputs
from mmssl.methods import METHODS
from mmssl.modalities.given_text import names_of
from mmssl.modalities.labelled_media import LabelledMedia, batch_of, kind_of, labelled_media, thinned
from mmssl.modalities.media_data import MediaData, prepare_media, reopen_media
from mmssl.models import ENCODERS
from mmssl.models.export_autoencoder import export_objective
from mmssl.objectives import Objective, heard_around
from mmssl.pretraining import pretrain, trained
from mmssl.recording import check_inside, ranges_of, recording
from mmssl.report import write_report
from mmssl.report.across import Candidates, draw_nearest
from mmssl.report.completions import draw_completions
from mmssl.report.embeddings import draw_map, draw_neighbours, embedded
from mmssl.report.segments import write_filled
from mmssl.report.sheet import masked_lines
from mmssl.report.terminal import show_candidates, show_media_results
from mmssl.report.views import draw_inputs
from mmssl.runs import open_folder, record_bad, write_json
from mmssl.train import launch, reseed, restore_weights

HELDOUT = 64  # samples that are looked at while training
EXAMPLES = 6  # samples whose completions the report shows
SAMPLES = 3  # completions of each of them
FITTED = 256  # samples that a decoder of embeddings is fitted to
CANDIDATES = 100  # held-out samples among which the nearest of another modality are looked for
CPU = torch.device("cpu")

NoNegatives: Callable[[Config], Negatives] = lambda config: {}  # noqa: E731


@dataclass(frozen=True)
class MediaTask:
    """`modalities` are read; `negatives(config)` are the kinds of wrong y, beside other samples', that are measured."""

    modalities: tuple[str, ...]
    negatives: Callable[[Config], Negatives] = NoNegatives

    def build(self, config: Config, inputs: Inputs, num_samples: int) -> Objective:
        """The objective with its first weights, a function of the config and the seed, for so many training samples."""
        reseed(config.seed)
        encoder = ENCODERS[config.encoder.name](inputs.modalities, **config.encoder.arguments())
        objective = METHODS[config.method.name](encoder, inputs.modalities, **config.method.arguments())
        objective.remember(num_samples)
        return objective

    def read(self, config: Config) -> MediaData:
        """The decoded samples of the config's sources."""
        found = prepare_media(config, Path(config.run), partial(record_bad, Path(config.run)), self.modalities)
        return found.mixed()

    def restored(self, config: Config, found: Restored) -> tuple[Objective, Inputs, MediaData]:
        """A run's objective with the weights of its checkpoint, its inputs and its data."""
        there = reopen_media(config, Path(config.run), self.modalities)
        data = self.read(config) if there is None else there.mixed()
        inputs = Inputs(config, self.modalities, data.vocabulary)
        objective = self.build(config, inputs, data.train.size)
        restore_weights(objective, found.tensors["model"])
        return objective.eval(), inputs, data

    def main(self, config: Config, *, changed: tuple[str, ...] = ()) -> None:
        """Pretrain, then evaluate and write the report."""
        accelerator = launch(config)
        with open_folder(config, changed=changed):
            with accelerator.main_process_first():
                data = self.read(config)
            inputs = Inputs(config, self.modalities, data.vocabulary)
            objective = self.build(config, inputs, data.train.size)
            heard = data.hearing(heard_around(objective))
            files = numbered(heard.heldout.paths())
            run = pretrain(
                objective, config, accelerator, heard, tokens_per_sample=tokens_of(objective),
                evaluation=partial(
                    heldout_metrics, batches=lambda device: prepared(
                        heard.heldout, inputs, config, HELDOUT, device, objective.views),
                    thing=lambda batch: compared_things(objective, files, batch)),
                prepare=partial(inputs.stream, wanted=objective.views), plain=inputs,
            )  # fmt: skip
            if accelerator.is_main_process:
                objective = trained(run, partial(self.build, config, inputs, data.train.size))
                self.finish(objective, inputs, config, data, run.samples_seen, run.seconds)

    def finish(
        self, objective: Objective, inputs: Inputs, config: Config, data: MediaData, samples_seen: int, seconds: float
    ) -> None:
        """Measure, write evaluation.json, pictures and report.html, and say what was found."""
        folder = Path(config.run)
        labelled = labelled_media(config, folder, partial(record_bad, folder), self.modalities)
        build = partial(self.build, config, inputs, data.train.size)
        results = evaluate_media(objective, build, inputs, config, data, labelled, self.negatives(config))
        results |= {"samples_seen": samples_seen, "seconds": seconds}
        results["encoder.parameters"] = sum(weight.numel() for weight in objective.encoder.parameters())
        write_json(folder / "evaluation.json", results)
        self.draw(objective, inputs, config, data, labelled, folder / "pictures")
        page = write_report([folder])
        show_media_results(results)
        print(f"\nrun folder  {config.run}\nreport      {page}")

    def draw(
        self, objective: Objective, inputs: Inputs, config: Config, data: MediaData, labelled: LabelledMedia | None,
        folder: Path,
    ) -> None:  # fmt: skip
        """The first held-out samples: what is seen, hidden and said of them; of pictures and sounds the views; of
        pictures what is near to what.
        """
        device = next(objective.parameters()).device
        batch = next(prepared(data.heldout, inputs, config, EXAMPLES, device), None)
        if batch is not None:
            names = [f"sample-{number + 1}" for number in range(len(batch.draw.index))]
            decode = self.decoder(objective, inputs, config, data)
            draw_completions(completed(objective, batch, samples=SAMPLES, decode=decode), batch, inputs, folder, names)
            self.draw_nearest(objective, inputs, config, data, batch, names, folder)
            views = next(prepared(data.heldout, inputs, config, EXAMPLES, device, objective.views, augmented=True))
            shown = [name for name in VIEWS_OF if name in self.modalities and is_changed(batch, views, name)]
            draw_inputs(objective, batch, views, shown, folder, "views-")
        if "image" in self.modalities:
            reader = data.heldout if labelled is None else labelled.test
            found = embedded(objective.encoder, reader, inputs, config)
            draw_neighbours(found, folder / "neighbours-image.png")
            draw_map(found, folder / "map-image.png")

    def draw_nearest(
        self, objective: Objective, inputs: Inputs, config: Config, data: MediaData, given: Batch, names: list[str],
        folder: Path,
    ) -> list[Path]:  # fmt: skip
        """The held-out samples that are nearest to given ones across modalities; nothing where none are compared."""
        if len(self.modalities) < 2:
            return []
        device = next(objective.parameters()).device
        batch = next(prepared(data.heldout, inputs, config, CANDIDATES, device, at_once=CANDIDATES), None)
        if batch is None:
            return []
        labels = data.heldout.labels()
        held = Candidates(batch, [labels[number] for number in batch.draw.index.tolist()], data.vocabulary)
        return draw_nearest(objective, given, names, held, folder)

    def decoder(self, objective: Objective, inputs: Inputs, config: Config, data: MediaData) -> dict[str, Readout]:
        """What shows predicted embeddings of each modality, fitted to some samples that the run was trained on; without
        those that need none.
        """
        device = next(objective.parameters()).device
        return readouts_of(objective, prepared(thinned(data.train, FITTED), inputs, config, FITTED, device))

    def evaluate(self, config: Config, found: Restored) -> None:
        """`mmssl evaluate RUN`."""
        objective, inputs, data = self.restored(config, found)
        self.finish(objective, inputs, config, data, found.state["samples_seen"], found.state["seconds"])

    def predict(self, config: Config, found: Restored, inputs: list[str], *, samples: int, out: Path | None) -> None:
        """`mmssl predict RUN FILE...`: what is seen, hidden and predicted, as pictures, films and sounds; of a method
        that compares modalities also the held-out samples of the other ones that are nearest. Captions are given as
        words, too.
        """
        objective, prepare, data = self.restored(config, found)
        unknown: frozenset[int] = frozenset()
        if self.modalities == ("video",):
            batch, unknown = clips_of(inputs, config)
        else:
            batch = batch_of(inputs, config, self.modalities)
        folder = out or Path(config.run) / "predictions"
        names = names_of(inputs)
        decode = self.decoder(objective, prepare, config, data)
        given = prepare(batch)
        completions = completed(objective, given, samples=samples, decode=decode)
        filled = {name: one._replace(unknown=one.unknown | unknown) for name, one in completions.items()}
        written = draw_completions(filled, given, prepare, folder, names)
        written += self.draw_nearest(objective, prepare, config, data, given, names, folder)
        if not written:
            method = config.method.name
            raise ConfigError(f"predict: {method} fills in nothing that one can look at; expected a method like mae")
        print("\n".join(map(str, written)))

    def fill(
        self, config: Config, found: Restored, inputs: list[str], hide: str, *, samples: int, out: Path | None
    ) -> None:
        """`mmssl predict RUN FILE... --hide RANGES`: the sounds with these ranges filled in, and pictures of them."""
        ranges, sounds = ranges_of(hide), []
        for path in inputs:
            kind_of(path, self.modalities)
            sounds.append(recording(path))
            check_inside(path, sounds[-1], ranges)
        objective, prepare, _ = self.restored(config, found)
        folder = out or Path(config.run) / "predictions"
        for number, (name, sound) in enumerate(zip(names_of(inputs), sounds, strict=True)):
            filled = filled_in(objective, prepare, sound, ranges, samples=samples, number=number)
            print("\n".join(map(str, write_filled(filled, prepare, folder / f"audio-{name}-filled"))))

    def score(self, config: Config, found: Restored, x: str, candidates: list[str], *, as_json: bool) -> None:
        """`mmssl score RUN X Y...`: the energy of each candidate file, or caption, lowest first.

        Of videos, X is what was and each Y a file of what comes next: the last seconds of X are shown and the first of
        Y compared, as many as in training (the other way round where a method predicts the past). Where parts of
        frames are hidden, and of other kinds, X and Y are whole: the first data.seconds of each.
        """
        objective, inputs, _ = self.restored(config, found)
        mine, kinds = kind_of(x, self.modalities), {kind_of(path, self.modalities) for path in candidates}
        if len(kinds) > 1:
            raise DataError(f"score: candidates of {' and '.join(sorted(kinds))}; expected one kind")
        theirs = kinds.pop()
        compare = objective.energies
        if len(self.modalities) > 1:
            compare = partial(comparing(objective, mine, theirs).energies_between, mine, theirs)
        if self.modalities == ("video",) and (ends := sides(config)) is not None:
            given, answers = map(inputs, continued(x, candidates, config, *ends))
            print(f"note: x is {ends[0]} of {x}; y is {ends[1]} of each candidate", file=sys.stderr)
        else:
            given = inputs.only(mine)(batch_of([x], config, (mine,)))
            answers = inputs.only(theirs)(batch_of(candidates, config, (theirs,)))
        with torch.no_grad():
            energies = compare(given, answers)[0].tolist()
        ranked = [{"y": path, "energy": energy} for path, energy in zip(candidates, energies, strict=True)]
        show_candidates(sorted(ranked, key=lambda one: one["energy"]), as_json=as_json)

    def embed(self, config: Config, found: Restored, data: str, out: Path) -> None:
        """`mmssl embed RUN DATA --out FILE`."""
        from mmssl.evaluate.media import write_media_features

        objective, inputs, there = self.restored(config, found)
        source = config.data.model_copy(update={"source": data, "heldout": 0.0})
        with TemporaryDirectory() as run:
            report = partial(record_bad, Path(config.run))
            elsewhere = config.model_copy(update={"data": source, "run": run})
            samples = prepare_media(elsewhere, Path(run), report, self.modalities, there.vocabulary).train
            write_media_features(objective.encoder, samples, inputs, config, out)

    def export(self, config: Config, found: Restored, folder: Path) -> None:
        """`mmssl export RUN DIR`."""
        objective, _, _ = self.restored(config, found)
        export_objective(objective, folder)

    def preview(self, config: Config, *, out: Path | None) -> None:
        """`mmssl data CONFIG`: the first samples as the model will see them."""
        with TemporaryDirectory() as run:
            elsewhere = config.model_copy(update={"run": run})
            data = self.read(elsewhere)
            inputs = Inputs(elsewhere, self.modalities, data.vocabulary)
            objective = self.build(elsewhere, inputs, data.train.size)
            raw = next(prepared(data.train, inputs, config, EXAMPLES, CPU, objective.views, augmented=True))
            print(data.summary())
            part = next((part for part in objective.each().values() if part.answered == ("text",)), None)
            if part is not None and data.vocabulary is not None:
                print("\n".join(masked_lines(part, raw, data.vocabulary)))
            plain = next(prepared(data.train, inputs, config, EXAMPLES, CPU))
            drawn = draw_inputs(objective, plain, raw, self.modalities, out or Path("data_preview"))
            print("\n".join(map(str, drawn)))


def is_changed(plain: Batch, batch: Batch, name: str) -> bool:
    """Whether a modality's views in `batch` are others than the plain one."""
    views = batch.views[name]
    return len(views) > 1 or not torch.equal(plain.views[name][0], views[0])


def comparing(objective: Objective, x: str, y: str) -> Objective:
    """The part of an objective that compares two modalities; the whole, which then says so, where there is none."""
    return next((part for part in objective.each().values() if part.compares(x, y)), objective)
