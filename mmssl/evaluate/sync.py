"""Whether a model that compares sound with video knows when they belong together, not only that they do.

The sound of a clip is offered again and again, moved by several times; that of the true time should have the lowest
energy.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.heldout import batch_of
from mmssl.inputs import Inputs
from mmssl.modalities.media_reader import Reader
from mmssl.modalities.sounds_around import sounds_around, widened
from mmssl.objectives import Objective

AT_ONCE = 16  # clips whose sounds are moved at once
REACH = 4  # steps to either side; a step is a (2 * REACH + 1)th of the window, so a sound that begins again at its end
# is another at each of them


@torch.no_grad()
def sync_results(part: Objective, inputs: Inputs, config: Config, heldout: Reader, rows: int) -> dict[str, float]:
    """The `sync.*` keys, of the first held-out clips with a sound (at most `rows`); nothing where there are not two.

    A sound is moved to 2 * REACH other times, by up to 4 / 9 of the window to either side: cut from what the file (or
    the world) has before and behind the window, else what leaves it at one end comes in at the other (`rolled_ratio` of
    the moved ones). `auroc`: clips with their own sound against the same clips with their moved ones. `chance_auroc` is
    that of the same sounds with the picture of another clip: what a seam, or the sound alone, tells. `offset_seconds`:
    the mean error of the time of lowest energy, `offset_accuracy`: how often that is the true one or beside it.
    """
    part.eval()
    device = next(part.parameters()).device
    matrices: list[Float[Tensor, "B O"]] = []
    others: list[Float[Tensor, "B O"]] = []
    rolled = 0
    for start in range(0, min(rows, heldout.size), AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, rows, heldout.size))
        raw = batch_of(heldout, config.seed, index, torch.device("cpu"))
        both = raw.present("video") & raw.present("audio")
        if int(both.sum()) < 2:
            continue
        clips = raw.chosen(both)
        sounds, num_rolled = moved_sounds(heldout, index[both.numpy()])
        rolled += num_rolled
        energies = by_offset(part, inputs, clips.to(device), sounds.to(device))
        matrices.append(energies.diagonal().T)
        others.append(energies.roll(1, 0).diagonal().T)
    if not matrices:
        return {}
    own, chance = torch.cat(matrices), torch.cat(others)
    found = {"sync.auroc": against_moved(own), "sync.chance_auroc": against_moved(chance)}
    found |= {f"sync.{key}": value for key, value in offset_errors(own, heldout.decoding.seconds).items()}
    by_chance = offset_errors(torch.zeros_like(own), heldout.decoding.seconds)
    found |= {f"sync.chance_{key}": value for key, value in by_chance.items()}
    return found | {"sync.clips": float(len(own)), "sync.rolled_ratio": rolled / (2 * REACH * len(own))}


def moved_sounds(reader: Reader, index: Int[np.ndarray, " B"]) -> tuple[Float[Tensor, "O B *T"], int]:
    """Each sound, late by -REACH to REACH steps, and how many of them had to begin again at their end."""
    around, has_before, has_after = sounds_around(reader, index)
    length = around.shape[-1] // 3
    own = around[..., length : 2 * length]
    found, rolled = [], 0
    for step in range(-REACH, REACH + 1):
        late = round(step * length / (2 * REACH + 1))
        cut = around[..., length - late : 2 * length - late]
        is_known = has_before if late > 0 else has_after if late < 0 else torch.ones_like(has_after)
        found.append(torch.where(widened(is_known, own), cut, own.roll(late, -1)))
        rolled += int((~is_known).sum())
    return torch.stack(found), rolled


def by_offset(part: Objective, inputs: Inputs, clips: Batch, sounds: Float[Tensor, "O B *T"]) -> Float[Tensor, "A B O"]:
    """F(picture of the row, sound of the column, moved)."""
    count = len(clips.draw.index)
    again = torch.arange(count, device=clips.draw.index.device).repeat(len(sounds))
    there = Batch({"audio.present": clips.views["audio.present"]}, clips.draw).chosen(again)
    answers = there._replace(views={**there.views, "audio": [sounds.flatten(0, 1)]})
    # as a whole batch each, so that pictures are encoded once
    x, y = inputs.only("video")(clips, wanted=part.views), inputs.only("audio")(answers, wanted=part.views)
    energies = part.energies_between("video", "audio", x, y).float().cpu()
    return energies.unflatten(1, (len(sounds), count)).transpose(1, 2)


def against_moved(energies: Float[Tensor, "B O"]) -> float:
    """How often a sound at its true time has the lower energy than one that is moved, over all pairs."""
    true = energies[:, REACH]
    return auroc(true, torch.cat([energies[:, :REACH], energies[:, REACH + 1 :]], 1).flatten())


def offset_errors(energies: Float[Tensor, "B O"], seconds: float) -> dict[str, float]:
    """The mean distance of the offset of lowest energy from 0 in seconds, and the share of those within one step; where
    several are the lowest, any of them as likely.
    """
    lowest = (energies == energies.min(1, keepdim=True).values).double()
    share = lowest / lowest.sum(1, keepdim=True)
    steps = torch.arange(-REACH, REACH + 1).abs().double()
    return {
        "offset_seconds": float((share @ steps).mean()) * seconds / (2 * REACH + 1),
        "offset_accuracy": float((share @ (steps <= 1).double()).mean()),
    }
