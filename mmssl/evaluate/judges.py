"""Distances as a network sees them: Fréchet's between sets of clips, and those of networks that the user supplies.

No weights come with this package. `evaluate.lpips_weights` and `evaluate.fvd_weights` name TorchScript files, which
`torch.jit.load` reads; a network of your own becomes one by `torch.jit.script(module).save(path)`:

- LPIPS (Zhang et al. 2018, arXiv:1801.03924): module(x, y), both (N, 3, H, W) in [-1, 1] -> N distances;
- FVD (Unterthiner et al. 2018, arXiv:1812.01717): module(clips), (N, 3, L, H, W) in [-1, 1] -> (N, D) features. It
  resizes and repeats frames itself as its network needs.
"""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.errors import ConfigError


def frechet(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"]) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the means and covariances of two sets (Dowson & Landau 1982;
    Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    Of few samples it is too large by far: only sets of the same sizes may be compared. The trace of the root is the sum
    of the singular values of X1^T X2 for S = X X^T, so that no root of a singular matrix is needed.
    """
    centred = [(part.double() - part.double().mean(0)) / max(len(part) - 1, 1) ** 0.5 for part in (first, second)]
    mean = (first.double().mean(0) - second.double().mean(0)).square().sum()
    traces = sum(part.square().sum() for part in centred)
    return float(mean + traces - 2 * torch.linalg.svdvals(centred[0] @ centred[1].T).sum())


def hash_of_weights(module: nn.Module) -> str:
    """16 hex digits that depend on all parameters and buffers, their names and types."""
    found = blake2b(digest_size=8)
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name}:{value.dtype}:{tuple(value.shape)}".encode())
        found.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def hash_of_file(path: str) -> str:
    """16 hex digits that depend on what a file holds."""
    return blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()


def load_network(path: str, key: str, device: torch.device) -> Any:
    """A user's TorchScript network; ConfigError where the file is none."""
    try:
        return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{key} {path}: {reason}; expected a TorchScript file (torch.jit.save)") from error


def lpips(network: Any, prediction: Float[Tensor, "M 3 H W"], truth: Float[Tensor, "M 3 H W"]) -> Float[Tensor, " M"]:
    """The network's distance of each frame; ConfigError where it answers with something else."""
    found = answer_of(network, "evaluate.lpips_weights", 2 * prediction - 1, 2 * truth - 1)
    if found.numel() != len(truth):
        came = f"{tuple(found.shape)} for {len(truth)} pairs of pictures"
        raise ConfigError(f"evaluate.lpips_weights: {came}; expected one number each")
    return found.flatten()


def clip_features(network: Any, clips: Float[Tensor, "N L 3 H W"]) -> Float[Tensor, "N D"]:
    """The network's features of each clip; ConfigError where it answers with something else."""
    found = answer_of(network, "evaluate.fvd_weights", rearrange(2 * clips - 1, "n l c h w -> n c l h w"))
    if found.ndim != 2 or len(found) != len(clips):
        came = f"{tuple(found.shape)} for {len(clips)} clips"
        raise ConfigError(f"evaluate.fvd_weights: {came}; expected {len(clips)} rows of features")
    return found


@torch.no_grad()
def answer_of(network: Any, key: str, *given: Tensor) -> Float[Tensor, "..."]:
    """What a user's network says, in float64; ConfigError where it says that it cannot, or nothing that is a tensor."""
    try:
        found = network(*given)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(f"{key}: the network failed: {reason}; expected one as the README describes") from error
    if not isinstance(found, Tensor):
        raise ConfigError(f"{key}: the network answers with {type(found).__name__}; expected a tensor")
    return found.double().cpu()
