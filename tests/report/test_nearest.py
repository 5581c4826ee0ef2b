"""What is nearest across modalities is drawn beside what was given; what a sample lacks is predicted, not compared."""

import pytest
import torch
from media_runs import media_config
from PIL import Image
from tiny import tiny_batch, tiny_objective
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.completion import completed
from mmssl.inputs import Inputs
from mmssl.modalities.text import Vocabulary
from mmssl.modalities.world_samples import rows_in
from mmssl.objectives import Objective
from mmssl.report import across
from mmssl.report.across import Candidates, draw_nearest, looks
from mmssl.report.completions import draw_sound
from mmssl.report.pictures import words_picture

COUNT = 4


class ByMean(Objective):
    """F = the distance of the means of two views."""

    def compares(self, x: str, y: str) -> bool:
        return {x, y} == {"video", "audio"}

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Tensor:
        other = batch if answers is None else answers
        return (batch.views[x][0].flatten(1).mean(1)[:, None] - other.views[y][0].flatten(1).mean(1)).abs()


def both(present: list[bool] | None = None) -> Batch:
    """Clips and sounds; some lack their sound."""
    batch = tiny_batch("audio_visual_jepa", COUNT)
    return batch if present is None else batch._replace(
        views={**batch.views, "audio.present": [torch.tensor(present)]}
    )  # fmt: skip


def drawn(
    given: Batch, held: Batch, folder, monkeypatch, objective: Objective | None = None, words: Vocabulary | None = None
) -> dict[str, list]:  # fmt: skip
    """What the sheets show: by their names the lines below the pictures, row by row."""
    found = {}
    monkeypatch.setattr(
        across, "sheet", lambda pictures, titles, least, below: found.setdefault(len(found), (pictures, below))
        and Image.new("RGB", (8, 8)),
    )  # fmt: skip
    names = [f"file {row}" for row in range(len(given.draw.index))]
    candidates = Candidates(held, [f"label {row}" for row in range(len(held.draw.index))], words)
    written = draw_nearest(objective or ByMean(), given, names, candidates, folder)
    return {path.stem: found[number] for number, path in enumerate(written)}


def test_the_nearest_are_those_of_the_lowest_energy_in_their_order(tmp_path, monkeypatch):
    given, held = both(), both()
    found = drawn(given, held, tmp_path, monkeypatch)
    assert found.keys() == {"neighbours-video-to-audio", "neighbours-audio-to-video"}
    energies = ByMean().energies_between("audio", "video", given, held)
    pictures, below = found["neighbours-audio-to-video"]
    for row in range(COUNT):
        order = energies[row].argsort().tolist()
        assert [lines[0].text for lines in below[row]] == [f"file {row}", *(f"label {one}" for one in order)]
        assert below[row][1][1].text == f"{float(energies[row].min()):.3f}"
        assert torch.equal(pictures[row][1], looks("video", held.views["video"][0][order[0]]))


def test_what_is_absent_is_neither_given_nor_found(tmp_path, monkeypatch):
    present = [True, False, True, False]
    found = drawn(both(present), both(present), tmp_path, monkeypatch)
    _, below = found["neighbours-video-to-audio"]
    assert {lines[0].text for row in below for lines in row[1:]} == {"label 0", "label 2"}
    _, below = found["neighbours-audio-to-video"]
    assert [row[0][0].text for row in below] == ["file 0", "file 2"]


def test_nothing_is_drawn_where_nothing_is_compared(tmp_path, monkeypatch):
    assert drawn(both(), both(), tmp_path, monkeypatch, Objective()) == {}
    assert drawn(both(), both([False] * COUNT), tmp_path, monkeypatch).keys() == {"neighbours-audio-to-video"}


class ByFirstWord(ByMean):
    """F = the distance of the first words' numbers, as far as a sound says one."""

    def compares(self, x: str, y: str) -> bool:
        return {x, y} == {"text", "audio"}

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Tensor:
        word = [of.views["text"][0][:, 1].float() for of in (batch, answers or batch)]
        return (word[0][:, None] - word[1]).abs()


def test_captions_are_drawn_as_words_and_of_equal_ones_the_first(tmp_path, monkeypatch, savanna_vocabulary):
    words = savanna_vocabulary
    texts = ["the lion", "a zebra", "the lion", "a zebra", "the owl"]
    batch = tiny_batch("contrastive_captions", len(texts))
    rows = torch.from_numpy(rows_in(words, texts, 8)).long()
    batch = batch._replace(views={**batch.views, "text": [rows], "text.present": [torch.tensor([True] * 4 + [False])]})
    found = drawn(batch, batch, tmp_path, monkeypatch, ByFirstWord(), words)
    assert found.keys() == {"neighbours-text-to-audio", "neighbours-audio-to-text"}
    pictures, below = found["neighbours-audio-to-text"]
    for row, order in enumerate([[0, 1], [1, 0], [0, 1], [1, 0]]):
        assert [lines[0].text for lines in below[row][1:]] == [f"label {one}" for one in order]
        assert torch.equal(pictures[row][1], words_picture(texts[order[0]]))
    pictures, _ = found["neighbours-text-to-audio"]
    assert torch.equal(pictures[1][0], words_picture("a zebra"))
    assert len(pictures[1]) == 1 + len(texts)


@pytest.mark.parametrize("method", ["audio_from_video", "audio_visual_jepa"])
def test_a_sound_that_a_clip_lacks_is_predicted_and_unknown(method):
    objective = tiny_objective(method).eval()
    decode = {"audio": lambda value: value[..., :16], "video": lambda value: value.repeat(1, 1, 3)}
    whole, lacking = (
        completed(objective, batch, samples=2, decode=decode)["audio"]
        for batch in (both(), both([True, False, True, True]))
    )
    assert lacking.unknown == {1}
    assert whole.unknown == frozenset()
    assert lacking.is_hidden[1].any()
    assert torch.isfinite(lacking.samples[0]).all()
    if method == "audio_from_video":  # it never sees the sound, so says the same of the clip
        torch.testing.assert_close(lacking.samples[0][1], whole.samples[0][1])
        assert len(lacking.samples) == 2
        assert not torch.equal(lacking.samples[0], lacking.samples[1])


def test_every_predicted_sound_is_written_and_a_truth_where_it_is_known(tmp_path, monkeypatch):
    one = completed(tiny_objective("audio_from_video"), both([True, False, True, True]), samples=2)["audio"]
    inputs = Inputs(media_config(tmp_path, "audio_visual"), ("video", "audio"))
    monkeypatch.setattr(inputs.log_mel, "to_waveform", lambda view: torch.zeros(1, 100))
    names = [sorted(path.name for path in draw_sound(one, row, inputs, tmp_path / f"a{row}")) for row in (0, 1)]
    sounds = ["a{}-predicted-1.wav", "a{}-predicted-2.wav"]
    assert names[0] == [*(name.format(0) for name in sounds), "a0-truth.wav", "a0.png"]
    assert names[1] == [*(name.format(1) for name in sounds), "a1.png"]
