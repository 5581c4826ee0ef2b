"""Tokenizers of all kinds, trained on captions of the built-in world."""

import numpy as np
import pytest

from mmssl.modalities.text import Vocabulary, train_tokenizer, vocabulary
from mmssl.savanna import captions


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Captions of the built-in world."""
    return captions(0, np.arange(500))


@pytest.fixture(scope="session")
def vocabularies(texts) -> dict[str, Vocabulary]:
    """A vocabulary of each kind."""
    kinds = ("wordpiece", "byte_bpe", "unigram", "word")
    return {kind: vocabulary(train_tokenizer(texts, kind, 320, lowercase=True)) for kind in kinds}
