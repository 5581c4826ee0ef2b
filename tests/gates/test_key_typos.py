"""Gate 5, too: every key of a config misspelt by one character is refused with the key that was meant."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from record import record

from mmssl.config import load_config
from mmssl.config_errors import all_keys
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.models import ENCODERS
from mmssl.sections import TrainConfig


def misspellings(word: str) -> set[str]:
    """Every deletion and transposition of one character, each in turn replaced by x (an x by q) and followed by one."""
    deleted = {word[:n] + word[n + 1 :] for n in range(len(word))}
    replaced = {word[:n] + ("q" if word[n] == "x" else "x") + word[n + 1 :] for n in range(len(word))}
    swapped = {word[:n] + word[n + 1] + word[n] + word[n + 2 :] for n in range(len(word) - 1)}
    inserted = {word[:n] + "x" + word[n:] for n in range(len(word) + 1)}
    return (deleted | replaced | swapped | inserted) - {word, ""}


def keys_of(method: str, encoder: str) -> Iterator[tuple[str, ...]]:
    """The keys of a config with this method and encoder."""
    from mmssl.config import composed

    return all_keys(composed(METHODS[method], ENCODERS[encoder]))


def answered(path: Path, method: str, encoder: str, wrong: tuple[str, ...]) -> str:
    """What is said of a config with a misspelt key; "" where it is taken."""
    lines = ["task: words", "run: out", f"method: {{name: {method}}}", f"encoder: {{name: {encoder}}}"]
    section, name = (wrong[0], wrong[1]) if len(wrong) == 2 else ("", wrong[0])
    if section in ("method", "encoder"):
        lines = [line.replace("}", f", {name}: 16}}") if line.startswith(section) else line for line in lines]
    else:
        lines += [f"{section}: {{{name}: 16}}" if section else f"{name}: 16"]
    path.write_text("\n".join(lines))
    try:
        load_config(path)
    except ConfigError as error:
        return str(error)
    return ""


def tried(path: Path, method: str, encoder: str, sections: set[str], step: int) -> tuple[int, list[str]]:
    """(misspellings tried, those that were not refused with the right advice) of the keys in some sections, of each key
    every `step`-th.
    """
    known, count, wrong = set(keys_of(method, encoder)), 0, []
    for keys in sorted(known):
        if ("" if len(keys) == 1 else keys[0]) not in sections:
            continue
        for spelt in sorted(misspellings(keys[-1]))[::step]:
            if (*keys[:-1], spelt) in known:  # another key
                continue
            count += 1
            said = answered(path, method, encoder, (*keys[:-1], spelt))
            if f"'{'.'.join(keys)}'" not in said.partition(": unknown key; did you mean ")[2]:
                wrong.append(f"{'.'.join((*keys[:-1], spelt))} -> {said}")
    return count, wrong


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_every_key_of_every_section_misspelt_is_refused_with_the_key_that_was_meant(tmp_path, step):
    sections = {keys[0] for keys in keys_of("bert", "bert") if len(keys) == 2} | {""}
    count, wrong = tried(tmp_path / "config.yaml", "bert", "bert", sections, step)
    assert wrong == []
    assert count > 2500 // step
    record("key_typos_of_sections", tried=count, refused_with_the_right_key=count - len(wrong))


@pytest.mark.parametrize(
    "names", [("jepa_with_latent", "swav"), pytest.param(tuple(METHODS), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_every_key_of_methods_and_encoders_misspelt_is_refused_with_the_key_that_was_meant(tmp_path, names):
    count, wrong, is_full = 0, [], len(names) > 2
    encoders = list(ENCODERS) if is_full else ["vit"]
    for method, encoder in [*((name, "vit") for name in names), *(("bert", name) for name in encoders)]:
        more, faults = tried(
            tmp_path / "config.yaml",
            method,
            encoder,
            {"encoder" if method == "bert" else "method"},
            1 if is_full else 6,
        )
        count, wrong = count + more, wrong + faults
    assert wrong == []
    assert count > 50
    record("key_typos_of_methods", methods=len(names), encoders=len(encoders), tried=count, refused=count - len(wrong))


def test_a_section_that_ignores_unknown_keys_would_let_a_misspelling_through():
    class Lax(TrainConfig, extra="ignore"): ...

    assert Lax.model_validate_json('{"stps": 3}').steps == 10000
