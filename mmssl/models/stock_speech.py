"""wav2vec 2.0 with its quantiser and heads as a stock `Wav2Vec2ForPreTraining`: weights go both ways."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Wav2Vec2Config, Wav2Vec2ForPreTraining

from mmssl.models.wav2vec2 import stock_weights
from mmssl.weights import copy_into, tensors_of


def heads_of(objective: Any) -> dict[str, nn.Module]:
    """The parts of a `QuantisedFrames` that the stock class has beside the encoder, by their stock names."""
    stream = objective.stream
    return {"quantizer": stream.quantiser, "project_hid": stream.predictor.answer, "project_q": stream.project}


def load_heads(objective: Any, stock: PreTrainedModel) -> None:
    """Give the quantiser, the heads and the embedding of masks the weights of a stock model; CheckpointError where it
    has other sizes.
    """
    weights, name = stock.state_dict(), f"method.pretrained {stock.config.name_or_path}"
    for key, part in heads_of(objective).items():
        mine = {leaf: weights.get(f"{key}.{leaf}", value) for leaf, value in tensors_of(part).items()}
        copy_into(part, mine, f"{name}: {key}")
    copy_into(objective.stream.fill, {"frame": weights["wav2vec2.masked_spec_embed"]}, f"{name}: masked_spec_embed")


@torch.no_grad()
def stock_pretraining(objective: Any) -> Wav2Vec2ForPreTraining:
    """`Wav2Vec2ForPreTraining` with the weights of a `QuantisedFrames`: for the same mask and distractors its loss is
    ours times the hidden frames, where all samples hide as many.
    """
    stream, encoder = objective.stream, objective.encoder
    config = Wav2Vec2Config(**{
        **encoder.config.to_dict(), "num_codevector_groups": stream.quantiser.num_groups,
        "num_codevectors_per_group": stream.quantiser.num_codes, "codevector_dim": stream.project.in_features,
        "proj_codevector_dim": stream.project.out_features, "num_negatives": stream.num_distractors,
        "contrastive_logits_temperature": stream.temperature, "diversity_loss_weight": stream.diversity_weight,
    })  # fmt: skip
    made = Wav2Vec2ForPreTraining(config)
    weights = {f"wav2vec2.{key}": value for key, value in stock_weights(encoder).items()}
    weights["wav2vec2.masked_spec_embed"] = stream.fill.frame.detach()
    for key, part in heads_of(objective).items():
        weights |= {f"{key}.{leaf}": value for leaf, value in parameters_of(part).items()}
    made.load_state_dict(weights)
    return made


def parameters_of(part: nn.Module) -> dict[str, Tensor]:
    """Without buffers: the stock quantiser keeps its temperature elsewhere."""
    return {name: weight.detach() for name, weight in part.named_parameters()}
