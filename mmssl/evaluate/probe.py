"""Linear probe: multinomial logistic regression on frozen embeddings."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.errors import DataError
from mmssl.evaluate import finite
from mmssl.random import permutation

STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 3))
MAXIMAL_ITERATIONS = 1000


class Probe(NamedTuple):
    """What a linear classifier reaches; accuracies in [0, 1]."""

    accuracy: float
    regularization: float  # scikit-learn's C: the inverse strength of the penalty, beside the summed cross-entropy
    validation_accuracy: float
    converged: bool  # False where the final fit stopped at the limit of iterations
    others: dict[str, float]  # the accuracy on other test parts, by their names


def linear_probe(
    train_x: Float[Tensor, "N D"],
    train_y: Int[Tensor, " N"],
    test_x: Float[Tensor, "Q D"],
    test_y: Int[Tensor, " Q"],
    seed: int = 0,
    others: dict[str, Float[Tensor, "Q D"]] | None = None,
) -> Probe:
    """The test accuracy of logistic regression on features standardised with the statistics of what it is fitted to.

    The penalty is chosen on a fifth of the *training* part (of equals the strongest penalty wins), then all of it
    is fitted. A class that is in the test part only counts as an error. `others` are other features of the same test
    part, for the same classifier. DataError where the training part is too small to be split.
    """
    x = finite("probe: embeddings of the training part", train_x).cpu().double().numpy()
    test = finite("probe: embeddings of the test part", test_x).cpu().double().numpy()
    y = train_y.cpu().numpy()
    fit, validation = split(y, seed)

    accuracies = [_classifier(strength, x[fit], y[fit]).score(x[validation], y[validation]) for strength in STRENGTHS]
    best = int(np.argmax(accuracies))

    classifier, expected = _classifier(STRENGTHS[best], x, y), test_y.cpu().numpy()
    more = {
        name: finite(f"probe: embeddings of the test part {name}", value).cpu().double().numpy()
        for name, value in (others or {}).items()
    }
    return Probe(
        accuracy=float(classifier.score(test, expected)),
        regularization=STRENGTHS[best],
        validation_accuracy=float(accuracies[best]),
        converged=bool(classifier.steps[-1][1].n_iter_.max() < MAXIMAL_ITERATIONS),
        others={name: float(classifier.score(value, expected)) for name, value in more.items()},
    )


def split(y: Int[np.ndarray, " N"], seed: int) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, " G"]]:
    """Indices to fit on and to validate on: every fifth of the shuffled samples, taken in order of class.

    So classes keep their shares, and a class with two samples or more is never without one to fit on.
    """
    classes, count = np.unique(y, return_counts=True)
    if len(y) < 5 or (count >= 2).sum() < 2:
        raise DataError(
            f"probe: got {len(y)} training samples of {len(classes)} classes, "
            "expected at least 5, and two classes with two samples each"
        )
    order = permutation(seed, 0, len(y), "linear probe")
    order = order[np.argsort(y[order], kind="stable")]
    is_validation = np.arange(len(y)) % 5 == 4
    return order[~is_validation], order[is_validation]


def _classifier(strength: float, x: Float[np.ndarray, "N D"], y: Int[np.ndarray, " N"]):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAXIMAL_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `Probe.converged` says it
        return model.fit(x, y)
