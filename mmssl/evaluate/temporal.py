"""Whether the frames of one clip differ: the collapse of a clip's embedding into one vector that all its times share.

A transformer adds its positions to all clips alike, so the frames of a clip differ where it says nothing of them: what
all clips have at a place is taken away first. What is left of a frame is its clip's own mean, and how it differs from
that.
"""

from typing import Any, Literal

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.evaluate import finite
from mmssl.evaluate.collapse import COMPLETE_RANK, PARTIAL_RANK_RATIO, effective_rank
from mmssl.evaluate.media_features import AT_ONCE, COMPARED, prepared
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader

Verdict = Literal["healthy", "partial", "constant"]

TIMED = ("audio", "video")  # the first axis of whose grid is time
CONSTANT_SHARE = 0.01  # of the variance: frames then lie within a tenth of the deviation of clips from each other


def within_clips(frames: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B 1 D"]]:
    """(how each frame differs from its clip's mean, that mean), both without what all clips have there; float64."""
    values = frames.double()
    values = values - values.mean(0, keepdim=True)
    mean = values.mean(1, keepdim=True)
    return values - mean, mean


def temporal_panel(frames: Float[Tensor, "B T D"]) -> dict[str, Any]:
    """The `collapse.temporal_*` keys: DataError where there are fewer than two clips or times.

    `temporal_rank`: the effective rank (RankMe) of the frames of a clip around their mean, the mean over clips, of
    `temporal_reachable_rank`, min(T - 1, D). `temporal_share`: what the differences within clips are of all variance.
    `temporal_verdict` is "constant" where frames do not differ: the share is below 0.01, or the rank below 2 (below the
    middle between 1 and what can be reached, where that is less); "partial" where the rank is below a tenth of what can
    be reached.
    """
    values = finite("embeddings of frames", frames).cpu()
    count, times, width = values.shape
    if min(count, times) < 2:
        raise DataError(f"embeddings of frames: got {count} clips of {times} times; expected at least 2 of 2")
    own, mean = within_clips(values)
    # what is left of equal numbers by the rounding of float32, relative to them as they were given
    rounding = torch.finfo(torch.float32).eps * values.double().flatten(1).norm(dim=1)
    singular = torch.linalg.svdvals(own)
    ranks = [effective_rank(torch.where(row > least, row, 0.0)) for row, least in zip(singular, rounding)]
    within, between = float(own.square().sum()), times * float(mean.square().sum())
    is_noise = within <= float(rounding.square().sum())
    share = 0.0 if is_noise else within / (within + between)
    rank, reachable = sum(ranks) / count, float(min(times - 1, width))
    return {
        "collapse.temporal_rank": rank, "collapse.temporal_reachable_rank": reachable,
        "collapse.temporal_share": share, "collapse.temporal_verdict": verdict(rank, reachable, share),
    }  # fmt: skip


def verdict(rank: float, reachable: float, share: float) -> Verdict:
    """As `temporal_panel` says."""
    if share < CONSTANT_SHARE or rank < min(COMPLETE_RANK, (1 + reachable) / 2):
        return "constant"
    return "partial" if rank < PARTIAL_RANK_RATIO * reachable else "healthy"


def by_time(value: Float[Tensor, "B N D"], times: int) -> Float[Tensor, "B T D"]:
    """The mean embedding of each time of a grid whose first axis it is; all tokens are there, in order."""
    return reduce(value.float(), "b (t n) d -> b t d", "mean", t=times)


@torch.no_grad()
def temporal_results(encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config) -> dict[str, Any]:
    """The panel of each modality that has a time, under its name where several are read; of the samples that have it,
    at most COMPARED.
    """
    encoder.eval()
    names = [name for name in TIMED if name in inputs.modalities]
    cuts: dict[str, Any] = encoder.cuts  # type: ignore[assignment]
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    rows, device = min(COMPARED, config.evaluate.documents), next(encoder.parameters()).device
    for batch in prepared(reader, inputs.only(*names), config, rows, device, at_once=AT_ONCE) if names else ():
        for name in names:
            there = batch.present(name)
            if not bool(there.any()):
                continue
            tokens = encoder({name: cuts[name].tokenize([batch.views[name][0][there]])})[name]
            found[name].append(by_time(tokens.value, tokens.place.grid[0]).cpu())
    results: dict[str, Any] = {}
    for name, parts in found.items():
        frames = torch.cat(parts) if parts else torch.zeros(0, 0, 0)
        if min(frames.shape[:2]) > 1:
            prefix = "" if len(inputs.modalities) == 1 else f"{name}."
            results |= {prefix + key: value for key, value in temporal_panel(frames).items()}
    return results
