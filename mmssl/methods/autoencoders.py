"""Methods whose decoder is given a latent variable alone: the picture, or the spectrogram, is what z says it is."""

from typing import Any

from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.pixels import Count, either
from mmssl.modalities.grids import Cut
from mmssl.models.codes import GaussianCode
from mmssl.models.decoder import Decoder
from mmssl.models.likelihood import NormalOutput, SquaredOutput
from mmssl.models.vector_code import VectorCode
from mmssl.objectives import Objective
from mmssl.objectives.autoencoding import Variational, VectorAutoencoding
from mmssl.random import Draw
from mmssl.sections import CountOrZero, NonNegative
from mmssl.tokens import Place, Tokens


def all_seen(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
    """Everything is seen, and everything is asked for."""
    return tokens, tokens.place


def cut_of(encoder: Any) -> Cut:
    """How the encoder cuts pictures, or spectrograms where it reads no pictures."""
    return encoder.cut(either(encoder, "image", "audio"))


def decoder_of(cut: Cut, latent_width: int, sizes: tuple[int, int, int]) -> Decoder:
    """From z to patches, by (layers, width, heads)."""
    layers, width, heads = sizes
    return Decoder(latent_width, cut.width, cut.name, layers=layers, width=width, heads=heads)


def vae(
    encoder: Any, modalities: Any, *, latent_width: Count = 64, spatial: bool = False, kl_weight: NonNegative = 1.0,
    free_nats: NonNegative = 0.0, output_deviation: NonNegative = 0.0, mask: Mask = "right", hidden_ratio: Ratio = 0.5,
    inference_steps: CountOrZero = 50, decoder_layers: Count = 4, decoder_width: Count = 256, decoder_heads: Count = 8,
) -> Objective:  # fmt: skip
    """Variational autoencoder: the encoder says where z is, a decoder makes the picture of it (Kingma & Welling 2013,
    arXiv:1312.6114, eq. 10).

    One z of `latent_width` numbers a picture, or, `spatial`, one for each patch. `kl_weight` is beta of Higgins et al.
    2017 (1: the bound; 0: z has no limit); the first `free_nats` cost nothing. `output_deviation` of a number from the
    decoder's answer, in units of the pictures as the encoder sees them; 0: that of the training error. `mask` and
    `hidden_ratio` are for energies and predictions, whose z `inference_steps` of descent look for; training hides
    nothing.
    """
    cut = cut_of(encoder)
    code = GaussianCode(
        encoder.width, latent_width, spatial=spatial, weight=kl_weight, free=free_nats, steps=inference_steps
    )
    decoder = decoder_of(cut, latent_width, (decoder_layers, decoder_width, decoder_heads))
    return Variational(
        cut=cut, encoder=encoder, code=code, decoder=decoder, output=NormalOutput(output_deviation),
        corrupt=hiding(mask, hidden_ratio),
    )  # fmt: skip


def vqvae(
    encoder: Any, modalities: Any, *, num_codes: Count = 512, code_width: Count = 64,
    commitment_weight: NonNegative = 0.25, decoder_layers: Count = 4, decoder_width: Count = 256,
    decoder_heads: Count = 8,
) -> Objective:  # fmt: skip
    """VQ-VAE: a patch's embedding becomes the nearest of `num_codes` vectors of `code_width` numbers, a decoder makes
    the picture of these (van den Oord et al. 2017, arXiv:1711.00937, eq. 3 with the moving averages of appendix A.1).

    Nothing is hidden: F(x, y) = error of y in place of the picture that the codes of x stand for. Its codes are the
    words that `beit` learns to predict.
    """
    cut, corrupt = cut_of(encoder), all_seen
    return VectorAutoencoding(
        cut=cut, encoder=encoder, output=SquaredOutput(), corrupt=corrupt,
        code=VectorCode(encoder.width, code_width, num_codes, weight=commitment_weight),
        decoder=decoder_of(cut, code_width, (decoder_layers, decoder_width, decoder_heads)),
    )  # fmt: skip
