"""The model: a perceptron with one hidden layer, 64-64-10, trained by SGD with momentum."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

PIXELS, HIDDEN, DIGITS = 64, 64, 10
SHAPES = ((PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, DIGITS), (DIGITS,))
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)
"""How many parameters there are: 4810."""


def initial_weights(random: np.random.Generator) -> Vector:
    """Draw the first weights, scaled for ReLU (He et al. 2015); biases start at 0. Shape (SIZE,)."""
    weights = np.zeros(SIZE)
    hidden, _, output, _ = layers(weights)
    hidden[:] = random.normal(scale=np.sqrt(2 / PIXELS), size=hidden.shape)
    output[:] = random.normal(scale=np.sqrt(2 / HIDDEN), size=output.shape)
    return weights


def layers(vector: Vector) -> list[Vector]:
    """Return views of a flat vector, shape (SIZE,), in the shapes of the layers."""
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), SHAPES, strict=True)]


def loss_and_gradient(weights: Vector, pixels: Vector, labels: NDArray[np.int64]) -> tuple[float, Vector]:
    """Return cross entropy and its gradient, each summed over the rows given.

    Sums, not means: the ranks' shares of a batch may differ in size, and are divided once all are added up.
    `pixels` has the shape (rows, PIXELS), `labels` (rows,), the gradient (SIZE,).
    """
    hidden_weights, hidden_bias, output_weights, output_bias = layers(weights)
    hidden = np.maximum(pixels @ hidden_weights + hidden_bias, 0)
    scores = hidden @ output_weights + output_bias
    scores -= scores.max(axis=1, keepdims=True)
    logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    loss = -float(logarithms[rows, labels].sum())

    error = np.exp(logarithms)
    error[rows, labels] -= 1
    hidden_error = (error @ output_weights.T) * (hidden > 0)
    parts = (pixels.T @ hidden_error, hidden_error.sum(axis=0), hidden.T @ error, error.sum(axis=0))
    return loss, np.concatenate([part.ravel() for part in parts])


def accuracy(weights: Vector, pixels: Vector, labels: NDArray[np.int64]) -> float:
    """Return the share of rows whose digit is recognised, 0 to 1."""
    hidden_weights, hidden_bias, output_weights, output_bias = layers(weights)
    scores = np.maximum(pixels @ hidden_weights + hidden_bias, 0) @ output_weights + output_bias
    return float((scores.argmax(axis=1) == labels).mean())
