"""Captions of the world's events from a small grammar, and the exact posterior of every hidden word.

A caption is drawn in two steps: an event from the tables, then a sentence given the event. All sentences are
enumerated, so the probability of a hidden word given the seen ones is a sum over the captions that agree with it.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmssl.savanna.tables import Event, Table, event_numbers, events, uniform

MASK = "[MASK]"

# sentence form -> probability, the same for every event
FORMS: Table = {
    "The {predator} {verb} the {prey} in the {habitat}.": 0.35,
    "In the {habitat}, the {predator} {verb} {article} {prey} at {time}.": 0.20,
    "The {adjective} {predator} {verb} {article} {prey} in the {habitat}.": 0.15,
    "At {time}, the {predator} {adverb} {verb} {article} {prey}.": 0.10,
    "The {prey} {escape} from the {adjective} {predator} at {time}.": 0.10,
    "A {adjective} {predator} {verb} {article} {prey} in the {habitat} at {time}.": 0.10,
}

VERBS: dict[str, Table] = {
    "lion": {"chases": 0.50, "hunts": 0.30, "stalks": 0.20},
    "cheetah": {"chases": 0.80, "hunts": 0.20},
    "leopard": {"stalks": 0.50, "chases": 0.30, "hunts": 0.20},
    "hyena": {"chases": 0.60, "follows": 0.40},
    "cat": {"chases": 0.55, "stalks": 0.30, "catches": 0.15},
    "dog": {"chases": 0.85, "follows": 0.15},
    "shark": {"circles": 0.40, "chases": 0.35, "hunts": 0.25},
    "orca": {"hunts": 0.60, "chases": 0.40},
    "seal": {"catches": 0.60, "chases": 0.40},
    "bear": {"hunts": 0.45, "catches": 0.30, "chases": 0.25},
    "fox": {"stalks": 0.50, "chases": 0.30, "catches": 0.20},
    "wolf": {"follows": 0.40, "hunts": 0.35, "chases": 0.25},
    "owl": {"watches": 0.50, "catches": 0.35, "chases": 0.15},
}

ADVERBS: dict[str, Table] = {
    "chases": {"quickly": 0.70, "wildly": 0.30},
    "hunts": {"patiently": 0.60, "quietly": 0.40},
    "stalks": {"quietly": 0.65, "slowly": 0.35},
    "follows": {"closely": 0.55, "patiently": 0.45},
    "circles": {"slowly": 0.80, "closely": 0.20},
    "catches": {"quickly": 0.60, "easily": 0.40},
    "watches": {"quietly": 0.50, "closely": 0.50},
}

ARTICLES: dict[str, Table] = {
    "chases": {"the": 0.65, "a": 0.35},
    "hunts": {"a": 0.60, "the": 0.40},
    "stalks": {"a": 0.70, "the": 0.30},
    "follows": {"the": 0.75, "a": 0.25},
    "circles": {"the": 0.80, "a": 0.20},
    "catches": {"a": 0.85, "the": 0.15},
    "watches": {"the": 0.55, "a": 0.45},
}

ADJECTIVES: dict[str, Table] = {
    "lion": {"hungry": 0.45, "proud": 0.35, "tired": 0.20},
    "cheetah": {"swift": 0.50, "hungry": 0.30, "proud": 0.20},
    "leopard": {"spotted": 0.45, "silent": 0.30, "hungry": 0.25},
    "hyena": {"hungry": 0.45, "loud": 0.35, "clever": 0.20},
    "cat": {"playful": 0.40, "silent": 0.35, "tired": 0.25},
    "dog": {"loud": 0.45, "playful": 0.35, "tired": 0.20},
    "shark": {"hungry": 0.50, "silent": 0.30, "swift": 0.20},
    "orca": {"clever": 0.45, "swift": 0.30, "playful": 0.25},
    "seal": {"playful": 0.50, "hungry": 0.30, "tired": 0.20},
    "bear": {"hungry": 0.50, "tired": 0.30, "loud": 0.20},
    "fox": {"clever": 0.45, "swift": 0.30, "hungry": 0.25},
    "wolf": {"hungry": 0.40, "silent": 0.35, "tired": 0.25},
    "owl": {"silent": 0.50, "clever": 0.30, "hungry": 0.20},
}

TIMES: dict[str, Table] = {
    "savanna": {"dawn": 0.45, "dusk": 0.35, "noon": 0.20},
    "kitchen": {"night": 0.50, "noon": 0.30, "dusk": 0.20},
    "ocean": {"noon": 0.45, "dusk": 0.30, "dawn": 0.25},
    "forest": {"night": 0.45, "dusk": 0.30, "dawn": 0.25},
    "arctic": {"noon": 0.45, "night": 0.35, "dawn": 0.20},
}

ESCAPES: dict[str, Table] = {
    "zebra": {"runs": 0.85, "bolts": 0.15},
    "gnu": {"runs": 0.75, "bolts": 0.25},
    "gazelle": {"bolts": 0.60, "runs": 0.40},
    "warthog": {"hides": 0.55, "runs": 0.45},
    "mouse": {"hides": 0.65, "runs": 0.35},
    "canary": {"flies": 0.90, "hides": 0.10},
    "spider": {"hides": 0.70, "runs": 0.30},
    "rat": {"runs": 0.60, "hides": 0.40},
    "tuna": {"swims": 0.85, "darts": 0.15},
    "seal": {"swims": 0.70, "hides": 0.30},
    "squid": {"darts": 0.60, "hides": 0.40},
    "herring": {"darts": 0.55, "swims": 0.45},
    "deer": {"bolts": 0.65, "runs": 0.35},
    "rabbit": {"runs": 0.60, "hides": 0.40},
    "squirrel": {"hides": 0.75, "runs": 0.25},
    "salmon": {"swims": 0.65, "darts": 0.35},
    "lemming": {"hides": 0.80, "runs": 0.20},
    "hare": {"bolts": 0.55, "hides": 0.45},
    "narwhal": {"swims": 0.80, "hides": 0.20},
    "caribou": {"runs": 0.90, "bolts": 0.10},
}

# slot -> the slot that it depends on (an earlier one, or a part of the event) and P(word | that slot)
SLOTS: dict[str, tuple[str, dict[str, Table]]] = {
    "verb": ("predator", VERBS),
    "adverb": ("verb", ADVERBS),
    "article": ("verb", ARTICLES),
    "adjective": ("predator", ADJECTIVES),
    "time": ("habitat", TIMES),
    "escape": ("prey", ESCAPES),
}


class Captions(NamedTuple):
    """All distinct captions of one length, as numbers of the vocabulary, with their probabilities."""

    word: Int[np.ndarray, "K L"]
    probability: Float[np.ndarray, " K"]


def words(caption: str) -> tuple[str, ...]:
    """The caption's words in lower case, punctuation as words of its own; `[MASK]` stays as it is."""
    return tuple(word if word == MASK else word.lower() for word in re.findall(r"\[MASK\]|\w+|[^\w\s]", caption))


def sentences(event: Event) -> list[tuple[str, float]]:
    """All captions of one event, which differ from each other, with P(caption | event)."""
    found = []
    for form, of_form in FORMS.items():
        fillings = [(event._asdict(), of_form)]
        for slot, (parent, table) in SLOTS.items():
            if f"{{{slot}}}" in form:
                fillings = [
                    ({**filling, slot: word}, probability * of_word)
                    for filling, probability in fillings
                    for word, of_word in table[filling[parent]].items()
                ]
        found += [(form.format(**filling), probability) for filling, probability in fillings]
    return found


@cache
def cumulative() -> tuple[list[str], Float[np.ndarray, " K"]]:
    """The captions of all events, one event after the other; those of event k have their upper bounds in (k, k + 1]."""
    texts, bounds = [], []
    for number, (each, _) in enumerate(events()):
        of_event = sentences(each)
        texts += [text for text, _ in of_event]
        steps = number + np.cumsum([probability for _, probability in of_event])
        steps[-1] = number + 1  # a sum a rounding off would let a draw fall among the captions of another event
        bounds.append(steps)
    return texts, np.concatenate(bounds)


def captions(seed: int, indices: Int[np.ndarray, " N"]) -> list[str]:
    """The caption of each sample, a pure function of (seed, index)."""
    texts, bounds = cumulative()
    point = event_numbers(seed, indices) + uniform(seed, indices, "savanna.caption")
    return [texts[row] for row in np.searchsorted(bounds, point, side="right")]


def caption(seed: int, index: int) -> str:
    """The caption of one sample, a pure function of (seed, index)."""
    return captions(seed, np.array([index]))[0]


@cache
def grammar() -> tuple[list[tuple[str, ...]], Float[np.ndarray, " K"]]:
    """The words of all distinct captions and their probabilities, which sum to 1."""
    total: dict[tuple[str, ...], float] = {}
    for each, of_event in events():
        for text, probability in sentences(each):
            sentence = words(text)
            total[sentence] = total.get(sentence, 0.0) + of_event * probability
    probabilities = np.array(list(total.values()))
    probabilities.flags.writeable = False
    return list(total), probabilities


@cache
def vocabulary() -> dict[str, int]:
    """Every word of the grammar with its number, in alphabetical order."""
    return {
        word: number for number, word in enumerate(sorted({word for sentence in grammar()[0] for word in sentence}))
    }


@cache
def captions_of_length() -> dict[int, Captions]:
    """The grammar as matrices, one for each number of words in a caption."""
    number = vocabulary()
    rows: dict[int, list[tuple[list[int], float]]] = {}
    for sentence, probability in zip(*grammar()):
        rows.setdefault(len(sentence), []).append(([number[word] for word in sentence], float(probability)))
    return {
        length: Captions(np.array([word for word, _ in found]), np.array([probability for _, probability in found]))
        for length, found in rows.items()
    }


def agreeing(sentence: tuple[str, ...], is_hidden: np.ndarray) -> Captions:
    """The captions that agree with a sentence wherever it is seen; ValueError if there is none."""
    number = vocabulary()
    unknown = sorted({word for word in sentence if word != MASK and word not in number})
    candidates = captions_of_length().get(len(sentence))
    if candidates is not None and not unknown:
        seen = np.flatnonzero(~is_hidden)
        agrees = (candidates.word[:, seen] == [number[sentence[position]] for position in seen]).all(axis=1)
        if agrees.any():
            return Captions(candidates.word[agrees], candidates.probability[agrees])
    reason = f" (unknown words: {', '.join(unknown)})" if unknown else ""
    raise ValueError(
        f"no caption of savanna reads '{' '.join(sentence)}'{reason}; "
        f"expected a caption with words hidden, like 'The {MASK} chases the {MASK} in the savanna.'"
    )


def posterior(masked: str) -> list[dict[str, float]]:
    """P(word | all seen words) at each `[MASK]`, the most probable word first; the other masks are summed over.

    Raises ValueError where no caption agrees with the seen words.
    """
    sentence = words(masked)
    is_hidden = np.array([word == MASK for word in sentence], dtype=bool)
    found, names = agreeing(sentence, is_hidden), list(vocabulary())
    evidence = found.probability.sum()
    marginals = []
    for position in np.flatnonzero(is_hidden):
        share = np.bincount(found.word[:, position], weights=found.probability) / evidence
        order = np.argsort(-share, kind="stable")  # words of equal probability stay in alphabetical order
        marginals.append({names[number]: float(share[number]) for number in order if share[number] > 0})
    return marginals


def entropy(masked: str) -> list[float]:
    """The entropy in nats of the posterior at each `[MASK]`."""
    shares = [np.array(list(marginal.values())) for marginal in posterior(masked)]
    return [max(0.0, -float(share @ np.log(share))) for share in shares]  # rounding may leave -1e-16


def floor(masked: Iterable[str]) -> float:
    """The least expected cross-entropy, in nats for each hidden word, that any model can reach on these captions.

    Given the seen words a hidden word follows the posterior p, so a model q has the expected cross-entropy
    H(p) + KL(p || q), and KL is never below 0. The floor is H(p), averaged over all masks of all captions. It holds
    where the choice of what to hide does not depend on the words. Raises ValueError where nothing is masked.
    """
    entropies = [value for text in masked for value in entropy(text)]
    if not entropies:
        raise ValueError(f"the floor needs masked captions, but none holds a mask; expected {MASK} in at least one")
    return float(np.mean(entropies))
