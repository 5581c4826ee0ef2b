"""A sample that cannot be used."""


class BadSample(Exception):
    """One file, or a window of one, that cannot be decoded; the text says why, in a few words.

    It never reaches a user: the reader records it in bad_samples.jsonl and takes another sample in its place.
    """
