"""Methods that predict hidden words."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from mmssl.corruption import Corruption, denoise_tokens, random_words, replace_tokens, single_tokens, spans, whole_words
from mmssl.energy import cross_entropy
from mmssl.errors import ConfigError
from mmssl.modalities.text import Vocabulary, tokenize
from mmssl.models.encoder import TextEncoder, VocabularyHead, WindowEncoder, WindowScorer
from mmssl.objectives import NextSentence, Objective, Predictive, Ranking, Stream

Ratio = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Unit = Literal["token", "whole_word", "span"]

ORDERS = {"token": single_tokens, "whole_word": whole_words, "span": spans()}


def masked(
    encoder: Any, vocabulary: Vocabulary, corrupt: Corruption, regularizers: tuple[NextSentence, ...] = ()
) -> Predictive:
    """A softmax over the vocabulary at the hidden places."""
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(
            "encoder.name window has no vocabulary head; expected bert, roberta, xlm_roberta, modernbert or pretrained"
        )
    stream = Stream(
        tokenize=partial(tokenize, vocabulary), corrupt=corrupt, predictor=VocabularyHead(encoder), energy=cross_entropy
    )
    return Predictive(streams={"text": stream}, encoder=encoder, regularizers=regularizers)


def bert(
    encoder: Any, vocabulary: Vocabulary, *, hidden_ratio: Ratio = 0.15, unit: Unit = "token", mask_ratio: Share = 0.8,
    random_ratio: Share = 0.1, next_sentence: bool = False,
) -> Objective:  # fmt: skip
    """BERT, section 3.1 (Devlin et al. 2018, arXiv:1810.04805); its next-sentence loss is an option, since RoBERTa
    found it no help.
    """
    if mask_ratio + random_ratio > 1:
        raise ConfigError(f"method.mask_ratio {mask_ratio} + method.random_ratio {random_ratio}: expected at most 1")
    corrupt = replace_tokens(
        vocabulary, hidden_ratio, order=ORDERS[unit], mask_ratio=mask_ratio, random_ratio=random_ratio
    )
    return masked(encoder, vocabulary, corrupt, (NextSentence(encoder.width),) if next_sentence else ())


def roberta(
    encoder: Any, vocabulary: Vocabulary, *, hidden_ratio: Ratio = 0.15, unit: Unit = "token", mask_ratio: Share = 0.8,
    random_ratio: Share = 0.1,
) -> Objective:  # fmt: skip
    """RoBERTa: masks drawn anew in each epoch, no next-sentence loss (Liu et al. 2019, arXiv:1907.11692)."""
    return bert(
        encoder, vocabulary, hidden_ratio=hidden_ratio, unit=unit, mask_ratio=mask_ratio, random_ratio=random_ratio
    )


def xlm_roberta(
    encoder: Any, vocabulary: Vocabulary, *, hidden_ratio: Ratio = 0.15, mask_ratio: Share = 0.8, random_ratio: Share
    = 0.1
) -> Objective:  # fmt: skip
    """XLM-R: one model of many languages (Conneau et al. 2019, arXiv:1911.02116); set data.groups=folder,
    data.exponent=0.3.
    """
    return bert(encoder, vocabulary, hidden_ratio=hidden_ratio, mask_ratio=mask_ratio, random_ratio=random_ratio)


def modernbert(encoder: Any, vocabulary: Vocabulary, *, hidden_ratio: Ratio = 0.3, unit: Unit = "token") -> Objective:
    """ModernBERT: 30 % masks (Warner et al. 2024, arXiv:2412.13663, section 2.1.2)."""
    return bert(encoder, vocabulary, hidden_ratio=hidden_ratio, unit=unit)


def collobert_weston(
    encoder: Any, vocabulary: Vocabulary, *, centre_ratio: Ratio = 0.5, margin: Annotated[float, Field(gt=0)] = 1.0
) -> Objective:
    """Rank a window above the same window with another centre word (Collobert & Weston 2008; 2011, eq. 17).

    `centre_ratio` of the words of a row are centres in a step.
    """
    if not isinstance(encoder, WindowEncoder):
        raise ConfigError("method.name collobert_weston needs a window of words; expected encoder.name window")
    words = random_words(vocabulary)
    return Ranking(
        name="text",
        tokenize=partial(tokenize, vocabulary),
        corrupt=replace_tokens(vocabulary, centre_ratio, mask_ratio=0.0, random_ratio=0.0),
        negative=lambda draw, true: words(draw, true.shape[1]),
        encoder=encoder,
        scorer=WindowScorer(encoder),
        margin=margin,
    )


def text_denoising(
    encoder: Any, vocabulary: Vocabulary, *, drop_ratio: Share = 0.1, replace_ratio: Share = 0.05,
    shuffle_ratio: Share = 0.1, keep_ratio: Share = 0.05, distance: Annotated[int, Field(ge=1)] = 3,
) -> Objective:  # fmt: skip
    """Restore clean text from dropped, replaced and locally shuffled tokens, at the same length.

    The noise of Lample et al. 2017 (arXiv:1711.00043, section 2.3: drop 0.1, distance 3) with a mask token where one
    was dropped.
    """
    ratios = {
        "drop_ratio": drop_ratio,
        "replace_ratio": replace_ratio,
        "shuffle_ratio": shuffle_ratio,
        "keep_ratio": keep_ratio,
    }
    if not 0 < sum(ratios.values()) < 1:
        raise ConfigError(
            f"method: the noise ratios sum to {sum(ratios.values()):g}; expected more than 0 and less than 1"
        )
    return masked(encoder, vocabulary, denoise_tokens(vocabulary, **ratios, distance=distance))
