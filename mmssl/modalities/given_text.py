"""A user's captions: words on the command line, or a .txt file of them, as the captions of samples are read."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from mmssl.errors import DataError
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.decoding import Decoding
from mmssl.modalities.media_files import IMAGES, SOUNDS, TEXT, VIDEOS
from mmssl.modalities.media_windows import read_caption
from mmssl.modalities.text import Vocabulary
from mmssl.modalities.world_samples import rows_in, vocabulary_at

OF_FILES = {TEXT, *IMAGES, *SOUNDS, *VIDEOS}  # what ends like these is meant as a file, whether it is there or not
BEGINNING = 40  # letters of a long text that an error shows


def is_words(given: str) -> bool:
    """Whether a user's argument is a caption itself, not the path of a file."""
    return Path(given).suffix.lower() not in OF_FILES and not os.path.isfile(given)  # a long caption is no path


def names_of(given: Sequence[str]) -> list[str]:
    """What is written of a user's arguments is called after their files, with a number where others were called so
    before; of words, after their place among all.
    """
    found: list[str] = []
    for place, each in enumerate(given, start=1):
        name = stem = f"caption-{place}" if is_words(each) else Path(each).stem
        number = 1
        while name in found:
            number += 1
            name = f"{stem}-{number}"
        found.append(name)
    return found


def row_of(given: str, decoding: Decoding) -> Int[np.ndarray, " n"]:
    """The row of a user's caption; DataError where it cannot be read, says nothing or too much. Some words that the
    run never read are unknown ones, as in captions held out: a line on stderr says so.
    """
    try:
        text = " ".join(given.split()) if is_words(given) else read_caption(Path(given))
    except BadSample as error:
        raise DataError(f"{given} cannot be used: {error}; expected a readable text") from error
    assert decoding.tokenizer is not None, "a caption where none is read"
    words: Vocabulary = vocabulary_at(decoding.tokenizer)
    (row,) = caption_rows([text], words, decoding.caption_tokens)
    if count := int((row == words.unknown).sum()):
        print(f"note: {given}: {count} unknown word(s), which no caption of the run has", file=sys.stderr)
    return row


def caption_rows(texts: list[str], words: Vocabulary, length: int) -> Int[np.ndarray, "n {length}"]:
    """Ids of a user's captions as of those of samples, but none is cut: DataError where one has more tokens than
    `length`, or not one that the run knows.
    """
    for text, ids in zip(texts, words.encode(texts), strict=True):
        if {*ids} <= {words.unknown}:
            raise DataError(f"{text!r} holds no word that the run knows; expected words of its captions")
        if len(ids) > length - 2:
            shown = text if len(text) <= BEGINNING else f"{text[:BEGINNING]}..."
            raise DataError(
                f"{shown!r}: a text of {len(ids)} tokens; expected at most {length - 2} (data.caption_tokens={length})"
            )
    return rows_in(words, texts, length)
