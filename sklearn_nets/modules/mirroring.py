"""Whether the mirror image of a training image still has the same target.

Mirroring is worth a point or two on photographs, and ruins digits, letters and signs with arrows.
So nets do it unasked only where the training data shows that it is harmless: of every two classes,
mirrored images must still be nearer to images of their own class than to those of the other, in
their pixels or in the directions of their edges, whichever tells the two better. Where neither
tells two classes apart, they cannot tell either that one is not the mirror image of the other, and
nothing is mirrored.

Edges are described by histograms of oriented gradients, which know no color: Dalal & Triggs (2005),
"Histograms of oriented gradients for human detection".
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch.nn import functional as F

SIDE = 16  # pixels that images are reduced to, twice as many for their edges
CELLS, DIRECTIONS = 4, 8  # cells along a side with a histogram of edges each, and its bins
PIECE = 512  # images described, and queries compared, at a time
CERTAIN, VERY_CERTAIN = 2, 3  # standard errors
KEPT = 2 / 3  # of what pixels tell about targets, in the mirror
MAX_LOSS = 0.25  # of the probability to be nearer to one's own class than an image of another is
ALIKE = 0.75  # probability up to which two classes of pixels look alike in the mirror
SIDED = 0.85  # probability that a pixel of a class lies to the left of one of another


@torch.no_grad()
def mirroring_keeps_targets(X, y, random_state, n_queries: int = 2000) -> bool:
    """Whether mirrored images look like images of their own target, as far as the data can tell.

    A query is told of class a rather than b by how much nearer its nearest neighbor in a is than
    that in b, and two classes are told apart by the probability that this is greater for a query of
    a than for one of b. For every two classes it must exceed 1/2 by two standard errors, also for
    mirrored queries, by pixels or edges, whichever is better; neither may lose more than a quarter
    in the mirror, and over all classes a third of the excess.

    Of real targets, the squared difference to the nearest neighbor's must keep two thirds of what
    it is below that of two targets drawn at random.

    Parameters
    ----------
    X : tensor of shape (n, channels, height, width)
        A sample of the training images.
    y : tensor of shape (n,) or (n, n_outputs)
        Their encoded labels, or floating point targets.
    random_state : RandomState
        Draws the queries.
    n_queries : int, default=2000
        How many images are mirrored.

    References
    ----------
    Mann & Whitney (1947), "On a test of whether one of two random variables is stochastically
    larger than the other".
    """
    if not len(X):
        return False
    queries = torch.from_numpy(random_state.permutation(len(X))[:n_queries]).to(X.device)
    if y.is_floating_point() and not bool(((y == 0) | (y == 1)).all()):
        return _mirrored_numbers_agree(X, y.reshape(len(y), -1), queries)
    _, labels = torch.unique(y, dim=0, return_inverse=True)
    excess = np.zeros(2)
    for _, above, errors, lost in _told_apart(X, labels, queries):
        if (above <= CERTAIN * errors).any() or lost > MAX_LOSS:
            return False
        excess += above
    return bool(excess[0] > 0 and excess[1] >= KEPT * excess[0])


@torch.no_grad()
def mirroring_keeps_masks(X, masks, random_state, n_queries: int = 2000) -> bool:
    """Whether mirrored images bear mirrored masks, as far as the data can tell.

    Patches around pixels of each class are compared with those of other images as
    `mirroring_keeps_targets` compares images. Since few masks know left from right, the doubt is
    in their favor here: mirroring is refused where patches tell nothing of their classes, where
    they lose a third of it in the mirror, or where two classes are mistaken for each other there,
    or are told apart by their side of the image and not by their looks, like two lungs.

    Parameters
    ----------
    X : tensor of shape (n, channels, height, width)
    masks : tensor of shape (n, height, width)
        Class indices; -1 for pixels without a label.
    random_state : RandomState
    n_queries : int, default=2000
        How many patches are mirrored.
    """
    if not bool((masks >= 0).any()):
        return False
    patches, labels, images, columns = labeled_patches(X, masks, random_state)
    queries = torch.from_numpy(random_state.permutation(len(patches))[:n_queries]).to(X.device)
    _, labels = torch.unique(labels, return_inverse=True)
    columns = [columns[labels == label].cpu().numpy() for label in range(int(labels.max()) + 1)]
    excess, error = np.zeros(2), 0.0
    for (a, b), above, errors, _ in _told_apart(patches, labels, queries, images):
        mistaken = above[0] > 0 and above[1] < -VERY_CERTAIN * errors[1]
        to_the_left, _ = _probability_greater(columns[b], columns[a])
        sided = max(to_the_left, 1 - to_the_left) > SIDED
        if mistaken or (sided and above[1] < ALIKE - 0.5):
            return False
        excess += above
        error += errors[0] ** 2
    return bool(excess[0] > VERY_CERTAIN * error**0.5 and excess[1] >= KEPT * excess[0])


def labeled_patches(X, masks, random_state, n_per_class: int = 250):
    """Patches of images around pixels drawn from each class alike, and their labels.

    Parameters
    ----------
    X, masks, random_state
        As in `mirroring_keeps_masks`.
    n_per_class : int, default=250
        Pixels drawn of each class, at most.

    Returns
    -------
    patches : tensor of shape (n_patches, channels, side, side)
        A quarter of the images' shorter side, at least 3 pixels and odd.
    labels : tensor of shape (n_patches,)
    images, columns : tensor of shape (n_patches,)
        Which image each is from, and where from left to right.
    """
    half = max(1, min(X.shape[2:]) // 8)
    codes = masks.cpu().numpy()
    drawn = []
    for label in np.unique(codes[codes >= 0]):
        pixels = np.flatnonzero(codes == label)
        drawn.append(random_state.permutation(pixels)[:n_per_class])
    image, row, column = np.unravel_index(np.concatenate(drawn), codes.shape)
    around = np.arange(-half, half + 1)
    rows, columns = (  # beyond the border the border's pixels are repeated
        torch.from_numpy(np.clip(at[:, None] + around, 0, side - 1)).to(X.device)
        for at, side in zip((row, column), X.shape[2:])
    )
    image = torch.from_numpy(image).to(X.device)
    patches = X.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    labels = torch.from_numpy(codes.ravel()[np.concatenate(drawn)].astype(np.int64)).to(X.device)
    return patches.permute(0, 3, 1, 2), labels, image, torch.from_numpy(column).to(X.device)


def _pixels(X, mirror=False):
    """Few pixels of every image, (n, n_numbers), without what all images have in common."""
    pixels = _describe(lambda x: _reduce(x, SIDE), X, mirror)
    return pixels - pixels.mean(0)


def _edges(X, mirror=False):
    """Histograms of the directions of edges in the cells of every image, (n, n_numbers)."""
    return _describe(_histograms, X, mirror)


DESCRIPTIONS = (_pixels, _edges)


def _describe(function, X, mirror):
    """A row of numbers for every image, mirrored or not, in memory that does not grow with X."""
    pieces = (piece.flip(3) if mirror else piece for piece in X.split(PIECE))
    return torch.cat([function(piece).flatten(1) for piece in pieces])


def _reduce(X, side):
    return F.adaptive_avg_pool2d(X.float(), [min(own, side) for own in X.shape[2:]])


def _histograms(X):
    padded = F.pad(_reduce(X, 2 * SIDE), (1, 1, 1, 1), mode="replicate")
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    strongest = torch.hypot(down, right).argmax(1, keepdim=True)  # of the channels
    down, right = (slope.gather(1, strongest)[:, 0] for slope in (down, right))
    angle, strength = torch.atan2(down, right), torch.hypot(down, right)
    bins = torch.arange(DIRECTIONS, device=X.device) * torch.pi / DIRECTIONS
    # an edge and its negative have one direction, which neighboring bins share
    share = torch.cos(2 * (angle[:, None] - bins[:, None, None])).clamp(min=0).square()
    cells = [min(CELLS, side) for side in X.shape[2:]]
    return F.normalize(F.adaptive_avg_pool2d(strength[:, None] * share, cells).flatten(1)).sqrt()


def _told_apart(X, labels, queries, groups=None, descriptions=DESCRIPTIONS):
    """How well two classes are told apart, as images are and mirrored, for every two of them.

    Neighbors of a query's own group do not count.

    Yields
    ------
    classes : (int, int)
    above : ndarray of shape (2,)
        By how much the probabilities, of images and of mirrored ones, exceed 1/2, by the
        description that tells the images best.
    errors : ndarray of shape (2,)
        Their standard errors where there is nothing to be told.
    lost : float
        The most that a description loses of its probability in the mirror.
    """
    order = labels.argsort(stable=True)  # the images of a class side by side
    groups = torch.arange(len(X), device=X.device) if groups is None else groups
    sizes = labels.bincount().tolist()
    found = []  # by each description, of images and mirrored ones, distances to every class
    for describe in descriptions:
        found.append([])
        for distances in _distances(X, describe, queries, groups, order):
            rows = [torch.stack([d.amin(1) for d in some.split(sizes, 1)], 1) for some in distances]
            found[-1].append(torch.cat(rows).cpu().numpy())
    of_query = labels[queries].cpu().numpy()
    for a, b in combinations(range(len(sizes)), 2):
        told = np.array([[_told(d, of_query, a, b) for d in distances] for distances in found])
        probabilities, errors = told[:, :, 0], told[:, :, 1]
        best = probabilities[:, 0].argmax()
        lost = (probabilities[:, 0] - probabilities[:, 1]).max()
        yield (a, b), probabilities[best] - 0.5, errors[best], lost


def _told(distances, of_query, a, b):
    """The probability, and its standard error, that a query of a is told from one of b."""
    with np.errstate(invalid="ignore"):
        nearer = distances[:, b] - distances[:, a]
    nearer[np.isnan(nearer)] = 0  # there is no other image of either class
    return _probability_greater(nearer[of_query == a], nearer[of_query == b])


def _distances(X, describe, queries, groups, order=slice(None)):
    """Distances of queries to all images in `order`, and of mirrored queries, piece by piece."""
    images, mirrored = describe(X), describe(X, mirror=True)
    known, own = images[order], groups[order]
    for asked in (images[queries], mirrored[queries]):
        yield (
            torch.cdist(some, known).masked_fill_(groups[rows][:, None] == own, torch.inf)
            for some, rows in zip(asked.split(PIECE), queries.split(PIECE), strict=True)
        )


def _probability_greater(a, b):
    """That a number of a is greater than one of b, equal ones counting half; standard error."""
    n, m = len(a), len(b)
    if not n * m:
        return 0.5, np.inf
    b = np.sort(b)
    below, up_to = (np.searchsorted(b, a, side).sum() for side in ("left", "right"))
    probability = (below + up_to) / (2 * n * m)
    return probability, np.sqrt((n + m + 1) / (12 * n * m))


def _mirrored_numbers_agree(X, y, queries) -> bool:
    own = torch.arange(len(X), device=X.device)
    truth = y[queries].double()
    # of two targets drawn at random the mean squared difference is twice the variance
    chance = 2 * truth.var(0, correction=0).clamp(min=torch.finfo(torch.float64).tiny)
    found = []
    for describe in DESCRIPTIONS:
        nearest = [
            torch.cat([some.argmin(1) for some in distances])
            for distances in _distances(X, describe, queries, own)
        ]
        errors = [(y[rows].double() - truth).square() for rows in nearest]
        gains = [1 - (e / chance).mean(1) for e in errors]
        error = float(gains[0].std()) / len(queries) ** 0.5
        found.append((*(float(gain.mean()) for gain in gains), error))
    above, kept, error = max(found)
    return above > VERY_CERTAIN * error and kept >= KEPT * above
