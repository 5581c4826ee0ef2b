"""The verdict of a page: what was measured, judged by chance, by a floor or by random weights, a sentence for each."""

import re
from typing import Any, NamedTuple

from mmssl.report import tables
from mmssl.report.record import is_finite

STATES = {"healthy": "good", "partial": "warning", "complete": "bad"}
MEANING = {
    "healthy": "The embeddings of different samples stay apart",
    "partial": "The embeddings use few of their dimensions",
    "complete": "The embeddings of different samples are the same",
}
EQUAL_DECIBELS = 0.5  # a difference of PSNR that nobody sees
CANDIDATES = 16  # of `video.rank1`
PAIRS_BY_NAME = 2  # of modalities in a sentence; of more, the best and the worst


class Finding(NamedTuple):
    """One sentence of the verdict; `state` is good, warning, bad or plain (not judged)."""

    state: str
    title: str
    value: str
    sentence: str


def judge(evaluation: dict[str, Any]) -> list[Finding]:
    """A finding for each thing that this run measured; what was not measured is not judged."""
    judges = (
        _collapse, _temporal, _energy, _cross_entropy, _frames, _rank, _futures, _retrieval, _synchrony, _probe,
        _absent, _collapse_of_parts,
    )  # fmt: skip
    return [finding for one in judges if (finding := one(evaluation)) is not None]


def _collapse(evaluation: dict[str, Any]) -> Finding | None:
    verdict, rank = evaluation.get("collapse.verdict"), evaluation.get("collapse.effective_rank")
    if not isinstance(verdict, str):
        return None
    meaning = MEANING.get(verdict, "Not a known verdict")
    sentence = f"{meaning}; effective rank {tables.number(rank)}"
    if is_finite(compared := evaluation.get("collapse.compared.effective_rank")):
        sentence += f", {tables.number(compared)} of what the energy compares"
    if named := evaluation.get("collapse.modalities"):
        sentence += f"; each modality alone: {named}"
    return Finding(_state(verdict), "Collapse", verdict, f"{sentence}.")


def _temporal(evaluation: dict[str, Any]) -> Finding | None:
    """Whether the frames of a clip differ, of the first modality that has them."""
    key = next((key for key in sorted(evaluation, key=len) if key.endswith("collapse.temporal_verdict")), "")
    if key not in evaluation or key.startswith("random_init."):
        return None
    verdict, prefix = str(evaluation[key]), key.removesuffix("verdict")
    meaning = {
        "healthy": "The frames of a clip differ", "partial": "The frames of a clip differ in few of their dimensions",
        "constant": "The frames of a clip are alike: it has one embedding at all times",
    }.get(verdict, "Not a known verdict")  # fmt: skip
    rank = tables.number(evaluation.get(f"{prefix}rank"))
    state = {"healthy": "good", "partial": "warning"}.get(verdict, "bad")
    return Finding(state, "Frames of a clip", verdict, f"{meaning}; effective rank {rank} within a clip.")


def _collapse_of_parts(evaluation: dict[str, Any]) -> Finding | None:
    """All modalities, the worst first."""
    parts = {key.removesuffix(".collapse.verdict"): str(value) for key, value in evaluation.items()
             if key.endswith(".collapse.verdict") and not key.startswith("random_init.")}  # fmt: skip
    if not parts:
        return None
    order = ["bad", "warning", "good"]
    names = sorted(parts, key=lambda name: order.index(_state(parts[name])))
    ranks = {name: tables.number(evaluation.get(f"{name}.collapse.effective_rank")) for name in names}
    sentence = "; ".join(f"{name} {parts[name]}, rank {ranks[name]}" for name in names)
    return Finding(_state(parts[names[0]]), "Collapse, each modality alone", parts[names[0]], f"{sentence}.")


def _state(verdict: str) -> str:
    return STATES.get(verdict, "bad")


def _energy(evaluation: dict[str, Any]) -> Finding | None:
    if not is_finite(auroc := evaluation.get("energy.auroc")):
        return None
    state = "good" if auroc >= 0.9 else "warning" if auroc >= 0.6 else "bad"
    sentence = f"A compatible pair has the lower energy in {auroc:.1%} of comparisons; chance is 50%."
    return Finding(state, "Energy AUROC", f"{auroc:.3f}", sentence)


def _cross_entropy(evaluation: dict[str, Any]) -> Finding | None:
    if not is_finite(entropy := evaluation.get("text.cross_entropy")):
        return None
    floor = evaluation.get("text.floor")
    title, value = "Masked cross-entropy", f"{entropy:.3f}"
    if not is_finite(floor) or floor <= 0:
        return Finding("plain", title, value, "In nats per hidden token; the floor of this data is not known.")
    ratio = entropy / floor - 1
    where = f"{ratio:.1%} above" if ratio >= 0 else f"{-ratio:.1%} below"
    return Finding(
        "good" if ratio <= 0.05 else "warning", title, value, f"{where} the known floor of {floor:.3f} nats."
    )


def _frames(evaluation: dict[str, Any]) -> Finding | None:
    """Predicted frames against the last seen one repeated, which is what a model that learned nothing can do."""
    if not is_finite(psnr := evaluation.get("video.psnr")):
        return None
    title, value = "Predicted frames, PSNR", f"{psnr:.1f} dB"
    if not is_finite(copied := evaluation.get("video.copy_last.psnr")):
        return Finding("plain", title, value, "Of one prediction; repeating the last frame was not measured.")
    ahead = psnr - copied
    state = "good" if ahead > EQUAL_DECIBELS else "warning" if ahead >= 0 else "bad"
    where = f"{abs(ahead):.1f} dB {'above' if ahead >= 0 else 'below'}"
    return Finding(state, title, value, f"{where} repeating the last seen frame, which reaches {copied:.1f} dB.")


def _rank(evaluation: dict[str, Any]) -> Finding | None:
    """The energy of the true continuation among those of wrong ones."""
    if not is_finite(first := evaluation.get("video.rank1")):
        return None
    state = "good" if first >= 0.5 else "warning" if first >= 2 / CANDIDATES else "bad"
    sentence = f"It has the lowest energy of {CANDIDATES}, wrong orders and times of it among them; chance is 6%"
    if is_finite(other := evaluation.get("video.rank1.other")):
        sentence += f". Among other clips alone {other:.0%}"
    return Finding(state, "True continuation first", f"{first:.0%}", f"{sentence}.")


def _futures(evaluation: dict[str, Any]) -> Finding | None:
    """Samples against the known futures: all of them shown, and nothing else."""
    if not is_finite(coverage := evaluation.get("uncertainty.coverage")):
        return None
    title, value = "Futures covered", f"{coverage:.0%}"
    quality, clauses = [], []
    truth, precision = evaluation.get("uncertainty.coverage_of_the_truth"), evaluation.get("uncertainty.precision")
    if is_finite(truth) and truth > 0:
        quality.append(coverage / truth)
        clauses.append(f"as many draws from the truth cover {truth:.0%}")
    if is_finite(precision):
        quality.append(precision)
        clauses.append(f"{precision:.0%} of the samples show a future that can happen")
    sentence = "; ".join(clauses) or "of those that can happen, by the model's samples"
    worst = min(quality, default=None)
    state = "plain" if worst is None else "good" if worst >= 0.8 else "warning" if worst >= 0.4 else "bad"
    return Finding(state, title, value, f"{sentence[0].upper()}{sentence[1:]}.")


def _retrieval(evaluation: dict[str, Any]) -> Finding | None:
    """The mean over pairs of modalities; judged by the worst of them, against chance and its scatter."""
    found = {" → ".join(match.groups()): value for key, value in evaluation.items()
             if (match := re.fullmatch(r"retrieval\.([^.]+)_to_([^.]+)\.r1", key)) and is_finite(value)}  # fmt: skip
    if not found:
        return None
    names = sorted(found, key=lambda name: -found[name])
    mean = sum(found.values()) / len(found)
    sentence, state = "", "plain"
    if is_finite(candidates := evaluation.get("retrieval.candidates")) and candidates >= 1:
        chance, worst = 1 / candidates, found[names[-1]]
        scatter = 2 * (chance * (1 - chance) / candidates) ** 0.5
        state = "bad" if worst <= chance + scatter else "good" if worst >= min(10 * chance, 0.5) else "warning"
        sentence = f"The right one of {candidates:.0f} is found first; chance is {chance:.1%}. "
    if len(names) > PAIRS_BY_NAME:
        listed = f"Best {names[0]} {found[names[0]]:.0%}, worst {names[-1]} {found[names[-1]]:.0%}"
    else:
        listed = ", ".join(f"{name} {found[name]:.0%}" for name in names)
        listed = listed[0].upper() + listed[1:]
    if distinct := [value for key, value in evaluation.items()
                    if re.fullmatch(r"retrieval\..+\.distinct\.r1", key) and is_finite(value)]:  # fmt: skip
        listed += f". Among candidates of another kind {sum(distinct) / len(distinct):.0%}"
    title = "Retrieval R@1" if len(names) == 1 else f"Retrieval R@1, mean of {len(names)}"
    return Finding(state, title, f"{mean:.0%}", f"{sentence}{listed}.")


def _synchrony(evaluation: dict[str, Any]) -> Finding | None:
    """Whether sound and picture are known to belong to one moment; judged by what the sound alone tells."""
    found = {key: evaluation.get(f"sync.{key}") for key in ("auroc", "chance_auroc", "offset_seconds", "clips")}
    auroc, alone, seconds, clips = found.values()
    if not is_finite(auroc):
        return None
    sentence = f"The sound of a clip has a lower energy than the same sound moved in {auroc:.1%} of comparisons"
    sentence += f"; with another clip's picture in {alone:.1%}" if is_finite(alone) else ""
    sentence += f". The moment is off by {seconds:.2f} s on average" if is_finite(seconds) else ""
    chance = max(0.5, alone) if is_finite(alone) else 0.5
    error = (chance * (1 - chance) / clips) ** 0.5 if is_finite(clips) and clips > 0 else 0.0
    state = "bad" if auroc <= chance + 2 * error else "good" if auroc >= (1 + chance) / 2 else "warning"
    return Finding(state, "Synchrony AUROC", f"{auroc:.3f}", f"{sentence}.")


def _probe(evaluation: dict[str, Any]) -> Finding | None:
    """What training added to random weights; less than two standard errors of the test set are not enough."""
    if not is_finite(accuracy := evaluation.get("probe.accuracy")):
        return None
    title, value = "Linear probe accuracy", f"{accuracy:.1%}"
    majority = evaluation.get("labelled.majority_accuracy")
    guessing = f"; always guessing the most frequent class {majority:.1%}" if is_finite(majority) else ""
    if not is_finite(random := evaluation.get("random_init.probe.accuracy")):
        return Finding("plain", title, value, f"On frozen features{guessing}.")
    count = evaluation.get("labelled.test")
    variance = sum(max(share * (1 - share), 0.0) for share in (accuracy, random))
    error = 2 * (variance / count) ** 0.5 if is_finite(count) and count > 0 else 0.0
    state = "bad" if accuracy < random else "good" if accuracy - random > error else "warning"
    doubt = "; too near to tell them apart with so few test samples" if state == "warning" and error else ""
    return Finding(state, title, value, f"The same encoder with random weights reaches {random:.1%}{guessing}{doubt}.")


def _absent(evaluation: dict[str, Any]) -> Finding | None:
    """The same probe on samples that lack a modality; judged by the worst of them, against the most frequent class."""
    found = {match[1]: value for key, value in evaluation.items()
             if (match := re.fullmatch(r"absent\.(.+)\.probe\.accuracy", key)) and is_finite(value)}  # fmt: skip
    if not found:
        return None
    worst = min(found, key=lambda name: found[name])
    sentence, state = ", ".join(f"without {name} {value:.1%}" for name, value in found.items()), "plain"
    if is_finite(majority := evaluation.get("labelled.majority_accuracy")):
        state = "good" if found[worst] > 1.5 * majority else "warning" if found[worst] > majority else "bad"
        sentence += f"; always guessing the most frequent class {majority:.1%}"
    return Finding(state, "Probe where a modality is absent", f"{found[worst]:.1%}", f"{sentence.capitalize()}.")
