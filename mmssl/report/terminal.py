"""What the command line prints: tables that a person reads."""

import json
from typing import Any

from mmssl.config import Config
from mmssl.evaluate.words import fill_in
from mmssl.modalities.text import WRITTEN_MASK, Vocabulary
from mmssl.models.encoder import longest
from mmssl.objectives import Objective

SHOWN = 5
EXAMPLES = tuple(f"The {WRITTEN_MASK} chases the {WRITTEN_MASK} in the {place}." for place in ("savanna", "kitchen"))
ROWS = (  # key of evaluation.json, what it is called
    ("text.cross_entropy", "masked cross-entropy (nats)"),
    ("text.floor", "  its floor"),
    ("text.accuracy", "masked accuracy"),
    ("text.calibration_error", "calibration error"),
    ("energy.auroc", "energy AUROC: one word replaced"),
    ("energy.ladder.frequent_word_replaced", "  by a frequent word"),
    ("energy.ladder.other", "  all hidden words of another row"),
    ("energy.gap", "energy gap (standard deviations)"),
    ("collapse.effective_rank", "effective rank"),
    ("knn.accuracy", "kNN accuracy"),
    ("probe.accuracy", "linear probe accuracy"),
    ("finetune.accuracy", "fine-tuning accuracy"),
)


def completions(
    objective: Objective, config: Config, vocabulary: Vocabulary, texts: list[str] | None = None
) -> list[dict[str, Any]]:
    """Texts with the model's words at each mask, beside the truth where the built-in world knows it."""
    reach = longest(objective.encoder, config.data.row_length)
    found = []
    for text in EXAMPLES if texts is None else texts:
        one: dict[str, Any] = {"text": text, "predictions": fill_in(objective, vocabulary, text, reach)}
        if config.data.source == "savanna" and (truth := true_words(text)):
            one["truth"] = truth
        found.append(one)
    return found


def true_words(text: str) -> list[list[tuple[str, float]]]:
    """The world's own probabilities at each mask; none where no caption reads so."""
    from mmssl.savanna import posterior

    try:
        return [list(words.items()) for words in posterior(text)]
    except ValueError:
        return []


def show_words(found: list[dict[str, Any]]) -> None:
    """The best words of each mask."""
    for one in found:
        print(one["text"])
        for number, words in enumerate(one["predictions"], 1):
            print(f"  mask {number}: " + "  ".join(f"{word} {share:.3f}" for word, share in words[:SHOWN]))


def show_completions(found: list[dict[str, Any]]) -> None:
    """The model's probabilities beside the world's, where it has some; else the best words."""
    for one in found:
        if "truth" not in one:
            show_words([one])
            continue
        print(f"\n{one['text']}")
        for number, (words, truth) in enumerate(zip(one["predictions"], one["truth"], strict=True), 1):
            model = dict(words)
            print(f"  mask {number}{'':12}model   world")
            for word, share in truth[:SHOWN]:
                print(f"    {word:<14}{model.get(word, 0.0):7.3f} {share:7.3f}")


def show_results(results: dict[str, Any]) -> None:
    """The key figures, beside those of random weights."""
    print(f"\n{'':38}trained   random weights")
    for key, name in ROWS:
        if key in results:
            random = results.get(f"random_init.{key}")
            print(f"{name:<36}{results[key]:9.3f}   {'' if random is None else f'{random:9.3f}'}")
    if "text.floor" in results:
        above = results["text.cross_entropy"] / results["text.floor"] - 1
        print(f"{'above the floor':<36}{above:9.1%}")
    if "collapse.verdict" in results:
        print(f"{'collapse':<36}{results['collapse.verdict']:>9}")


MEDIA_ROWS = (  # key of evaluation.json, what it is called
    ("text.cross_entropy", "masked word, cross-entropy (nats)"),
    ("text.floor", "  its floor"),
    ("energy.auroc", "energy AUROC"),
    ("energy.gap", "energy gap (standard deviations)"),
    ("video.psnr", "future frames, PSNR (dB)"),
    ("video.best_of.20.psnr", "  best of 20"),
    ("video.copy_last.psnr", "  copy of the last frame"),
    ("video.mean_of_samples.psnr", "  mean of the samples"),
    ("video.mean_of_futures.psnr", "  mean of all that could come"),
    ("video.ssim", "future frames, SSIM"),
    ("video.copy_last.ssim", "  copy of the last frame"),
    ("video.energy_score", "energy score of the samples"),
    ("video.energy_score.of_the_truth", "  of all that could come"),
    ("video.diversity", "distance between samples"),
    ("video.diversity.of_the_truth", "  of what could come"),
    ("video.rank1", "true continuation first of 16"),
    ("video.rank1.other", "  among other clips alone"),
    ("sync.auroc", "synchrony AUROC"),
    ("sync.chance_auroc", "  by another clip's picture"),
    ("sync.offset_seconds", "error of the offset (s)"),
    ("sync.chance_offset_seconds", "  by chance"),
    ("uncertainty.coverage", "coverage of what there may be"),
    ("uncertainty.coverage_error", "  its standard error"),
    ("uncertainty.coverage_of_the_truth", "  as many draws from the truth"),
    ("uncertainty.precision", "precision of what is drawn"),
    ("uncertainty.auroc", "AUROC of possible completions"),
    ("uncertainty.bits", "bits of the latent variable"),
    ("uncertainty.true_bits", "  bits that are hidden"),
    ("latent.bits", "bits of the latent variable"),
    ("latent.active_units", "  its active units"),
    ("latent.perplexity", "  codes in use"),
    ("latent.prior_gap", "  nats a unit from the prior"),
    ("codes.perplexity", "codes in use (perplexity)"),
    ("collapse.effective_rank", "effective rank"),
    ("collapse.compared.effective_rank", "  of what is compared"),
    ("collapse.temporal_rank", "  of the frames of a clip"),
    ("collapse.lidar", "  of what views share (LiDAR)"),
    ("collapse.mean_ratio", "error of a view by the other / mean"),
    ("collapse.alignment", "alignment of two views, 0 is equal"),
    ("collapse.uniformity", "uniformity, -4 is spread evenly"),
    ("knn.accuracy", "kNN accuracy"),
    ("probe.accuracy", "linear probe accuracy"),
    ("logmel.knn.accuracy", "kNN of log-mel statistics"),
    ("logmel.probe.accuracy", "  linear probe"),
    ("finetune.accuracy", "fine-tuning accuracy"),
)
FAMILIES = ("energy.ladder.", "energy.", "absent.", "retrieval.")  # every measure of these is shown

LEFT_OUT = (".r5", ".r10", "candidates", "histogram", ".gap")  # of the families


def show_media_results(results: dict[str, Any]) -> None:
    """The key figures of a run on pictures, sounds or videos, beside those of random weights."""
    names = dict(MEDIA_ROWS)
    parts = [key for key in results if key.endswith(".energy.auroc") and not key.startswith("random_init.")]
    names |= {key: f"energy AUROC, {key.removesuffix('.energy.auroc')}" for key in parts}
    for family in FAMILIES:
        names |= {
            key: key.removeprefix("energy.ladder.").replace("_", " ").replace(".", " ")
            for key in results
            if key.startswith(family) and key not in names and not key.endswith(LEFT_OUT)
        }
    print(f"\n{'':38}trained   random weights")
    for key, name in names.items():
        if key in results:
            random = results.get(f"random_init.{key}")
            print(f"{name:<36}{results[key]:9.3f}   {'' if random is None else f'{random:9.3f}'}")
    for key, verdict in results.items():
        if key.startswith("random_init."):
            continue
        if key.endswith("latent.verdict"):
            name = f"latent {key.removesuffix('latent.verdict').rstrip('.')}"
            print(f"{name.strip():<36}{verdict:>9}")
        part, is_verdict = key.partition("collapse")[0], "collapse" in key and key.endswith(".verdict")
        if is_verdict:
            name = f"collapse {part.rstrip('.')} {'of what is compared' if '.compared.' in key else ''}"
            named = results.get("collapse.modalities", "") if key == "collapse.verdict" else ""
            print(f"{' '.join(name.split()):<36}{verdict:>9}   {named}".rstrip())


def show_candidates(found: list[dict[str, Any]], *, as_json: bool) -> None:
    """Candidates with their energies."""
    if as_json:
        print(json.dumps(found))
        return
    for one in found:
        print(f"{one['energy']:10.3f}  {one['y']}")
