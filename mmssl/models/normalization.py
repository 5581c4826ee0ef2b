"""Batch normalisation over the batch of all processes, on any device."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from mmssl.distributed import average, processes
from mmssl.models.recompute import is_again


class BatchNorm(nn.Module):
    """`nn.BatchNorm1d/2d` with the statistics of the global batch (Ioffe & Szegedy 2015, arXiv:1502.03167).

    `nn.SyncBatchNorm` runs on GPUs only. Parameters and buffers are named as in the stock class.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, *, epsilon: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Float[Tensor, "B D *S"]) -> Float[Tensor, "B D *S"]:
        running_mean, running_var = self.running_mean, self.running_var
        if is_again():
            # this batch has been counted: what is learnt from it now is thrown away
            running_mean, running_var = running_mean.clone(), running_var.clone()
        elif self.training:
            self.num_batches_tracked += 1
        if processes() == 1 or not self.training:
            statistics = running_mean, running_var
            return batch_norm(x, *statistics, self.weight, self.bias, self.training, self.momentum, self.epsilon)
        axes = [0, *range(2, x.ndim)]
        value = x.float()
        shape = (-1, *[1] * (x.ndim - 2))
        mean = average(value.mean(axes))
        centred = value - mean.view(shape)
        variance = average(centred.square().mean(axes))  # of centred values: E[x^2] - E[x]^2 cancels
        count = x.numel() // x.shape[1] * processes()
        with torch.no_grad():
            running_mean.lerp_(mean, self.momentum)
            running_var.lerp_(variance * count / (count - 1), self.momentum)
        # mean and variance carry gradient to the samples of all processes
        scaled = centred * (variance + self.epsilon).rsqrt().view(shape)
        if self.weight is not None and self.bias is not None:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)


def use_batch_norm(model: nn.Module) -> None:
    """Put `BatchNorm` in the place of every stock one; the names of weights stay, so checkpoints are the same."""
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            made = BatchNorm(child.num_features, epsilon=child.eps, momentum=child.momentum or 0.1, affine=child.affine)
            made.load_state_dict(child.state_dict())
            setattr(model, name, made)
        else:
            use_batch_norm(child)
