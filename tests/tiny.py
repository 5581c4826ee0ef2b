"""Small vocabularies, batches and objectives that many tests share."""

from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from mmssl.augment import View, turns
from mmssl.batch import Batch
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid, Modality, Waveform
from mmssl.modalities.text import Vocabulary, train_tokenizer, vocabulary
from mmssl.models import ENCODERS
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.savanna import captions
from mmssl.tokens import Place, Tokens

STOCK = {"layers": 1, "width": 16, "heads": 2, "intermediate": 24, "dropout": 0.0, "max_positions": 64}
ENCODER_OPTIONS = {
    "bert": STOCK,
    "roberta": STOCK,
    "xlm_roberta": STOCK,
    "modernbert": {**STOCK, "layers": 2, "local_attention": 8, "global_every": 2},
    "window": {"width": 8, "size": 5, "hidden": 12},
}
ENCODER_OF = {"text_denoising": "bert", "collobert_weston": "window"}  # the others are named like their method
TEXT_METHODS = ("bert", "roberta", "xlm_roberta", "modernbert", "collobert_weston", "text_denoising")

GRIDS = {
    "image": Grid("image", (16, 16), 3), "audio": Grid("audio", (16, 16), 1), "video": Grid("video", (8, 12, 12), 3),
}  # fmt: skip
WAVEFORM = Waveform("audio", 430, 8000)  # 21 frames
WAV2VEC2 = {
    "layers": 1, "width": 32, "heads": 2, "intermediate": 64, "conv_widths": [16, 32, 32], "conv_sizes": [10, 3, 2],
    "conv_steps": [5, 2, 2], "position_size": 8, "position_groups": 2, "dropout": 0.0,
}  # fmt: skip
VIT = {"layers": 1, "width": 32, "heads": 2, "intermediate": 64, "patch": 4, "audio_patch": (4, 4), "frames": 2}
RESNET_VIDEO = {"widths": [8, 16], "depths": [1, 1], "frames": 2}
TUBELETS = {name: size for name, size in VIT.items() if name != "audio_patch"}
RESNET = {"widths": [8, 16], "depths": [1, 1], "small_stem": True}
SPECTRA = {name: size for name, size in VIT.items() if name not in ("audio_patch", "frames")}
SIZES: dict[str, dict[str, Any]] = {
    "wav2vec2": WAV2VEC2, "vit": VIT, "ast": SPECTRA, "videomae": TUBELETS, "vjepa2": TUBELETS, "resnet": RESNET,
    "resnet_video": RESNET_VIDEO,
}  # fmt: skip
PREDICTOR = {"predictor_layers": 1, "predictor_width": 32, "predictor_heads": 2}
GENERATOR = {"generator_layers": 1, "generator_width": 32, "generator_heads": 2}
DECODER = {"decoder_layers": 1, "decoder_width": 32, "decoder_heads": 2}
PROJECTOR = {"projector_width": 32, "embedding_width": 16}
SMALL_CROPS = {"num_small": 2, "small_size": 8}
QUEUE = {"queue_length": 20, "embedding_width": 16}
PICTURES, SOUNDS, CLIPS, BOTH = ("image",), ("audio",), ("video",), ("video", "audio")
MEDIA: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {  # what each method reads, and how small it can be
    "siamese": (PICTURES, PROJECTOR),
    "npid": (PICTURES, {"embedding_width": 16}),
    "pirl": (PICTURES, {"embedding_width": 16, "num_pieces": 2, "piece_size": 8}),
    "simclr": (PICTURES, PROJECTOR),
    "moco": (PICTURES, QUEUE),
    "moco_v2": (PICTURES, {**QUEUE, "projector_width": 32}),
    "moco_v3": (PICTURES, PROJECTOR),
    "deepcluster": (PICTURES, {"num_clusters": 4, "whitened_width": 4}),
    "deepercluster": (PICTURES, {"num_top": 2, "num_within": 2, "whitened_width": 4}),
    "clusterfit": (PICTURES, {"pretrained": "another run", "num_clusters": 4, "whitened_width": 4}),
    "deepcluster_v2": (PICTURES, {**PROJECTOR, **SMALL_CROPS, "num_clusters": 4, "num_groupings": 2}),
    "swav": (PICTURES, {**PROJECTOR, **SMALL_CROPS, "num_prototypes": 6, "queue_length": 20, "queue_start": 0.2}),
    "seer": (PICTURES, {**PROJECTOR, **SMALL_CROPS, "num_prototypes": 6}),
    "byol": (PICTURES, PROJECTOR),
    "simsiam": (PICTURES, {"projector_width": 32, "predictor_width": 16}),
    "dino": (PICTURES, {**SMALL_CROPS, "num_prototypes": 12, "projector_width": 32, "bottleneck_width": 8}),
    "barlow_twins": (PICTURES, {"projector_width": 32}),
    "w_mse": (PICTURES, {"projector_width": 32, "embedding_width": 3}),
    "vicreg": (PICTURES, {"projector_width": 32}),
    "lejepa": (PICTURES, {**PROJECTOR, **SMALL_CROPS, "num_directions": 16}),
    "denoising_autoencoder": (PICTURES, {}),
    "mae": (PICTURES, PREDICTOR),
    "simmim": (PICTURES, {}),
    "beit": (PICTURES, {"pretrained": "another run", "rounds": 2}),
    "ijepa": (PICTURES, PREDICTOR),
    "data2vec": (PICTURES, {**PREDICTOR, "num_masks": 2, "top_layers": 1}),
    "vae": (PICTURES, {**DECODER, "latent_width": 16}),
    "vqvae": (PICTURES, {**DECODER, "num_codes": 16, "code_width": 8}),
    "conditional_vae": (PICTURES, {**PREDICTOR, "latent_width": 4, "latent_layers": 1}),
    "jepa_with_latent": (PICTURES, {**PREDICTOR, "latent_width": 4, "latent_layers": 1, "num_codes": 4}),
    "gan": (PICTURES, {**GENERATOR, "latent_width": 4}),
    "sparse_coding": (PICTURES, {"patch_wise": False, "num_atoms": 16, "inference_steps": 20}),
    "diffusion": (PICTURES, PREDICTOR),
    "latent_diffusion": (PICTURES, {**PREDICTOR, "pretrained": "another run", "mask": "random"}),
    "audio_mae": (SOUNDS, PREDICTOR),
    "wav2vec2": (SOUNDS, {"span_frames": 3, "start_ratio": 0.15, "num_codes": 8, "code_width": 16}),
    "hubert": (SOUNDS, {"span_frames": 3, "start_ratio": 0.15, "num_clusters": 6, "embedding_width": 16}),
    "data2vec_audio": (SOUNDS, {**PREDICTOR, "span_frames": 3, "num_masks": 2, "top_layers": 1}),
    "audio_denoising": (SOUNDS, {}),
    "frame_prediction": (CLIPS, PREDICTOR),
    "frame_prediction_latent": (CLIPS, {**PREDICTOR, "latent_width": 4, "latent_layers": 1}),
    "frame_prediction_gan": (CLIPS, {**GENERATOR, "latent_width": 4}),
    "video_diffusion": (CLIPS, PREDICTOR),
    "videomae": (CLIPS, PREDICTOR),
    "frame_order": (CLIPS, {"seen_frames": 2}),
    "vjepa": (CLIPS, PREDICTOR),
    "vjepa_with_latent": (CLIPS, {**PREDICTOR, "latent_width": 4, "latent_layers": 1, "num_codes": 4}),
    "audio_visual_contrastive": (BOTH, PROJECTOR),
    "audio_visual_vicreg": (BOTH, {"projector_width": 32}),
    "audio_visual_barlow": (BOTH, {"projector_width": 32}),
    "xdc": (BOTH, {"num_clusters": 4, "whitened_width": 4}),
    "av_cluster": (BOTH, {"num_clusters": 4, "whitened_width": 4}),
    "cav_mae": (BOTH, PREDICTOR),
    "audio_visual_jepa": (BOTH, PREDICTOR),
    "audio_from_video": (BOTH, {**PREDICTOR, "latent_width": 4, "latent_layers": 1}),
    "video_from_audio": (BOTH, {**PREDICTOR, "latent_width": 4, "latent_layers": 1}),
    "contrastive_captions": (("text", "image", "audio"), {"embedding_width": 16}),
    "multimodal": (("text", "image", "audio", "video"), {**PREDICTOR, "latent_width": 4, "embedding_width": 16}),
}
SPEECH = ("wav2vec2", "hubert", "data2vec_audio")  # which read waveforms
FUSED: dict[str, dict[str, Any]] = {  # what the encoders of some methods are besides
    "audio_visual_jepa": {"fused": True},
    "cav_mae": {"fused": True, "layers": 2, "separate_layers": 1},
}
REMEMBERED = 8  # training samples, as far as memories and clusters know
PATTERNS = {"image": "b c h w -> b c (y h) (x w)", "audio": "b 1 h w -> b (y h) (x w)"}


def savanna_words() -> Vocabulary:
    """A WordPiece vocabulary of at most 512 tokens, trained on captions of the built-in world."""
    return vocabulary(train_tokenizer(captions(0, np.arange(2000)), "wordpiece", 512, lowercase=True))


def whole_words_of_savanna() -> Vocabulary:
    """A token for each word of the captions: unlike WordPiece, whose training breaks ties at random, always the
    same.
    """
    return vocabulary(train_tokenizer(captions(0, np.arange(2000)), "word", 512, lowercase=True))


def rows_of_captions(words: Vocabulary, count: int, length: int = 40) -> Batch:
    """Rows of three captions (the last is cut at the row's end), each a pair of halves for the next-sentence loss."""
    ids = torch.full((count, length), words.pad)
    other = torch.full((count, length), -1)
    encoded = words.encode(captions(1, np.arange(3 * count)))
    for row in range(count):
        start = 0
        for number in range(3 * row, 3 * row + 3 - row % 2):  # odd rows hold two, so padding differs
            middle = len(encoded[number]) // 2
            document = [words.first, *encoded[number][:middle], words.last, *encoded[number][middle:], words.last]
            document = document[: length - start]
            ids[row, start : start + len(document)] = torch.tensor(document)
            other[row, start] = number % 2
            start += len(document)
    draw = Draw(5, torch.full((count,), 2), 100 + torch.arange(count))
    return Batch({"text": [ids], "next_sentence": [other]}, draw)


def part(batch: Batch, rows: slice | list[int]) -> Batch:
    """Some samples of a batch."""
    views = {name: [view[rows] for view in views] for name, views in batch.views.items()}
    return Batch(views, Draw(batch.draw.seed, batch.draw.epoch[rows], batch.draw.index[rows]))


@cache
def words_of_tests() -> Vocabulary:
    """The vocabulary of all whose test does not need another."""
    return whole_words_of_savanna()


def tiny_modalities(method: str) -> dict[str, Modality]:
    """What a method of pictures, sounds, clips or all of them reads."""
    if method in SPEECH:
        return {"audio": WAVEFORM}
    return {name: words_of_tests() if name == "text" else GRIDS[name] for name in MEDIA[method][0]}


def tiny_encoder(modalities: dict[str, Modality], name: str = "vit", **options: Any) -> torch.nn.Module:
    """An encoder of media."""
    torch.manual_seed(0)
    return ENCODERS[name](modalities, **{**SIZES[name], **options})


class NearestPatch(torch.nn.Module):
    """Stands for a tokenizer: codes are the nearest of fixed patches of 4 x 4."""

    def __init__(self, num_codes: int = 16) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.table = torch.nn.Parameter(torch.randn(num_codes, 48, generator=torch.Generator().manual_seed(0)))

    def codes(self, tokens: Tokens) -> Tensor:
        """The nearest patch of each."""
        return torch.cdist(tokens.value, self.table.expand(len(tokens.value), -1, -1)).argmin(-1)

    def patches(self, codes: Tensor, place: Place) -> Tensor:
        """The patches of these codes."""
        return self.table[codes]


def tiny_objective(method: str, words: Vocabulary | None = None, *, encoder: str = "vit", **options) -> Objective:
    """A method on a tiny encoder without dropout, its weights a function of the method's name and options.

    `encoder` (vit or resnet) is of the media; a method of text has its own.
    """
    torch.manual_seed(0)
    if method in MEDIA:
        modalities = tiny_modalities(method)
        made = tiny_encoder(modalities, "wav2vec2" if method in SPEECH else encoder, **FUSED.get(method, {}))
        with (
            patch("mmssl.methods.clusters.encoder_of_run", lambda folder, modalities: tiny_encoder(modalities)),
            patch("mmssl.methods.generative.objective_of_run", lambda folder, modalities: tiny_autoencoder(modalities)),
            patch("mmssl.methods.denoising.tokenizer_of_run", lambda folder, modalities, cut: NearestPatch()),
        ):
            objective = METHODS[method](made, modalities, **{**MEDIA[method][1], **options})
        objective.remember(REMEMBERED)
        return objective
    name, words = ENCODER_OF.get(method, method), words or words_of_tests()
    return METHODS[method](ENCODERS[name](words, **ENCODER_OPTIONS[name]), words, **options)


def tiny_autoencoder(modalities: dict[str, Modality]) -> Objective:
    """A vae of a latent for each patch, untrained."""
    sizes = {"latent_width": 8, "decoder_layers": 1, "decoder_width": 32, "decoder_heads": 2}
    return METHODS["vae"](tiny_encoder(modalities), modalities, spatial=True, **sizes).eval()


def begin(objective: Objective, batch: Batch) -> None:
    """What the training loop does before the first step, for an objective that groups its samples."""
    if objective.regroup_epochs:
        objective.regroup(iter([batch]))


def tiny_batch(method: str, count: int = 8, num_views: int | None = None) -> Batch:
    """What a method reads: each sample has a pattern of its own on every patch, each view its own noise upon it."""
    words = words_of_tests()
    if method not in MEDIA:
        return rows_of_captions(words, count)
    views: dict[str, list[Tensor]] = {}
    draw = Draw(5, torch.full((count,), 2), torch.arange(count))
    for name in MEDIA[method][0]:
        if name == "text":
            views[name] = [captions_in_rows(words, count)]
        elif name == "image":
            wanted = tiny_objective(method).views if num_views is None else (View(),) * num_views
            whole = patterns(name, count, len(wanted))
            views[name] = [as_wanted(*pair, draw, number) for number, pair in enumerate(zip(whole, wanted))]
        elif method in SPEECH:
            views[name] = [chirps(count)]
        else:
            views[name] = patterns(name, count, 1)
    return Batch(views, draw)


def as_wanted(whole: Tensor, wanted: View, draw: Draw, number: int) -> Tensor:
    """A view of the size, in the pieces or with the turn that a method wants."""
    if wanted.pieces:
        cells = rearrange(whole, "b c (y h) (x w) -> b (y x) c h w", y=wanted.pieces, x=wanted.pieces)
        return cells[..., : wanted.size, : wanted.size]
    if wanted.is_rotated:
        pairs = zip(whole, turns(draw, number).tolist(), strict=True)
        return torch.stack([picture.rot90(quarters, (1, 2)) for picture, quarters in pairs])
    return whole[..., : wanted.size or None, : wanted.size or None]


def captions_in_rows(words: Vocabulary, count: int, length: int = 20) -> Tensor:
    """A caption in each row, cut at its end."""
    ids = torch.full((count, length), words.pad)
    for row, encoded in zip(ids, words.encode(captions(1, np.arange(count))), strict=True):
        document = torch.tensor([words.first, *encoded, words.last])[:length]
        row[: len(document)] = document
    return ids


def chirps(count: int) -> Tensor:
    """Sounds of which each rises or falls from a pitch of its own."""
    generator = torch.Generator().manual_seed(count)
    time = torch.arange(WAVEFORM.length) / WAVEFORM.rate_hz
    pitch = 200 + 400 * torch.arange(count)[:, None] / count
    slope = torch.where(torch.arange(count) % 2 == 0, 20_000.0, -3_000.0)[:, None]
    sound = (2 * torch.pi * (pitch + slope * time / 2) * time).sin()
    return 0.3 * sound + 0.01 * torch.randn(sound.shape, generator=generator)


def patterns(name: str, count: int, num_views: int) -> list[Tensor]:
    """Pictures, spectrograms or clips that repeat a patch of 4 x 4, its contrast twice as strong in the second half
    of a clip.
    """
    generator = torch.Generator().manual_seed(len(name))
    grid = GRIDS[name]
    base = torch.randn(count, grid.channels, 4, 4, generator=generator)
    rows, columns = (size // 4 for size in grid.size[-2:])
    if name == "video":
        # the past, and a future that is not its last frame
        amplitude = torch.where(torch.arange(grid.size[0]) < grid.size[0] // 2, 1.0, 2.0)
        still = repeat(base, "b c h w -> b t c (y h) (x w)", t=grid.size[0], y=rows, x=columns)
        still = still * amplitude[:, None, None, None]
    else:
        still = repeat(base, PATTERNS[name], y=rows, x=columns)
    return [still + 0.2 * torch.randn(still.shape, generator=generator) for _ in range(num_views)]


def gradients(objective: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The gradient of each parameter."""
    return {name: weight.grad.clone() for name, weight in objective.named_parameters() if weight.grad is not None}
