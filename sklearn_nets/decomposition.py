"""`sklearn.decomposition`: the auto-encoder beside scikit-learn's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import nn

from ._base.estimator import FITTED, TrainableNet
from ._base.parameters import NOT_NEGATIVE, POSITIVE_INT, check_sizes, net_class, parameter
from ._base.reconstruction import Reconstruction, count_components, reconstruction_statistics
from ._base.rows_or_images import RowsOrImagesMixin
from ._training.threads import prediction_threads
from ._utils.array_api import concatenate, convert_like, from_array_api, to_numpy, to_tensor
from ._utils.sklearn_compat import (
    Interval,
    StrOptions,
    check_array,
    check_is_fitted,
    fit_context,
    mirror,
)
from .modules.autoencoder import Autoencoder as _Module
from .modules.autoencoder import GaussianNoise, conv_coders
from .modules.mlp import MLP


@net_class(fitted=FITTED)
class Autoencoder(
    RowsOrImagesMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, TrainableNet
):
    """Learn a code of few numbers from which the data can be reconstructed.

    Rows are encoded by fully connected layers, images by convolutions; the decoder mirrors the
    encoder. With ``activation="identity"`` and no hidden layer the codes of rows span the subspace
    of PCA, once it has converged: with ``learning_rate_init=0.01, max_iter=300`` eight codes of 600
    digits leave a mean squared error of 5.55, those of PCA 5.51 (at the defaults it is 8.55). `fit`
    subtracts the mean of every feature and divides all features by one number, their
    common standard deviation, as PCA weighs features by their variance: put a `StandardScaler`
    before it where their units differ.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    n_components_ : int
        Length of a code.
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; (1, 1, n_features) for rows.
    {fitted}

    Raises
    ------
    ValueError
        If samples have another shape than in `fit`, or `image_shape` does not fit a row.

    See Also
    --------
    sklearn.decomposition.PCA : The linear one, without iterations.
    sklearn_nets.neighbors.EmbeddingNet : Codes that keep classes apart.

    References
    ----------
    Hinton & Salakhutdinov (2006), "Reducing the dimensionality of data with neural networks".
    Vincent et al. (2008), "Extracting and composing robust features with denoising autoencoders".
    Bourlard & Kamp (1988), "Auto-association by multilayer perceptrons and singular value
    decomposition".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.decomposition import Autoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = Autoencoder(n_components=8, max_iter=20, random_state=0).fit(X)
    >>> autoencoder.transform(X).shape, autoencoder.score(X) > 0.6
    ((1797, 8), True)
    """

    n_components: int | float | None = parameter(
        0.9, [POSITIVE_INT, Interval(Real, 0, 1, closed="neither"), None],
        """Length of a code. A float between 0 and 1 takes as many as the principal components that
        keep this share of the variance (of up to 2000 samples); None takes
        min(n_samples, n_features). As in PCA, but for the default.""",
        words="int, float or None", kw_only=False,
    )  # fmt: skip
    hidden_layer_sizes: Sequence[int] = parameter(
        (128,), ["array-like", POSITIVE_INT],
        "Units of the encoder's hidden layers for rows; the decoder has them in reverse.",
        words="int or array-like of int",
    )  # fmt: skip
    channels: Sequence[int] = parameter(
        (32, 64, 128), ["array-like"],
        "Channels of the encoder's stages for images, each of which halves height and width.",
        words="sequence of int",
    )  # fmt: skip
    activation: str = parameter(
        "relu", [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "Activation of the hidden layers for rows.",
    )  # fmt: skip
    noise: float = parameter(
        0.0, [NOT_NEGATIVE],
        """Standard deviation of normal noise added to what is encoded while training, in units of
        the data's common standard deviation: a denoising auto-encoder.""",
    )  # fmt: skip
    loss: str = parameter(
        "squared_error", [StrOptions({"squared_error", "absolute_error", "huber"})],
        """Of the differences in units of the common standard deviation; 'huber' is the squared
        error up to 1 and the absolute error beyond.""",
    )  # fmt: skip
    alpha: float = parameter(
        0.0001, [NOT_NEGATIVE],
        """Decoupled weight decay of 'adamw'; for the other solvers the strength of the L2 penalty
        alpha / 2 · ||W||² / Σw, where Σw is the sum of the batch's sample weights.""",
    )  # fmt: skip
    max_iter: int = parameter(100, [POSITIVE_INT], "Number of epochs, passes over the data.")
    augment: Callable | None = parameter(
        None, [callable, None],
        """A change of one's own of every training batch: ``augment(X, y)`` gets the images twice,
        as (n, channels, height, width) on the device, and returns what is encoded and what is to
        be reconstructed. Comes before `noise`.""",
        words="callable(X, y) -> (X, y) or None",
    )  # fmt: skip

    _peak_learning_rate = 2e-3

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, *, X_val=None):
        """Fit encoder and decoder to X.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, n_features)
            Rows, or images of any layout that `CNNClassifier` reads.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; an integer weight counts like repetition.
        X_val : array-like, default=None
            Validation data of one's own: scored after every epoch, it takes the place of the
            split that ``early_stopping=True`` makes.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, or if the loss turns NaN: the message names the epoch and
            the learning rate.
        """
        eval_data = None if X_val is None else (X_val, None, None)
        run = self._make_run(X, None, sample_weight, eval_data)
        return self._train(run, X, None, sample_weight)

    # ---------------------------------------------------------------- what prepares a training run
    def _validate_data(self, X, y="no_validation", *, reset):
        images = super()._validate_data(X, reset=reset)
        if reset:
            self._ndim = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        return images if isinstance(y, str) else (images, images)

    def _make_task(self, y, classes=None):
        return Reconstruction(int(np.prod(y.shape[1:])), self.loss)

    def _update_task(self):
        before, self._task.loss = self._task.loss, self.loss
        return before != self.loss

    def _place(self, data, target, weight, device):
        placed = super()._place(data, np.zeros(len(data)), weight, device)
        return placed._replace(y=placed.X)  # not a second copy of X

    def _make_module(self, X, weight, random_state):
        mean, scale = reconstruction_statistics(X, weight)
        k = self.n_components
        if k is None:
            k = min(len(X), self._task.n_outputs)
        elif not isinstance(k, Integral):
            k = count_components(X, weight, mean, k)
        self.n_components_ = int(k)
        coders = self._make_coders(random_state)
        module = _Module(*coders, mean, scale)
        self._task.scale = float(module.scale)
        if self.compile:
            module.compile()
        return module

    def _update_module(self, module):
        for part in module.modules():
            if isinstance(part, MLP):
                part.activation = self.activation

    def _make_coders(self, random_state):
        if not self._is_tabular():
            channels = check_sizes("channels", self.channels)
            return conv_coders(self.image_shape_, self.n_components_, channels)
        hidden = check_sizes("hidden_layer_sizes", self.hidden_layer_sizes, optional=True)
        sizes = [self.n_features_in_, *hidden, self.n_components_]
        encoder, decoder = (
            MLP(s, self.activation, self._precision.dtype).initialize(random_state)
            for s in (sizes, sizes[::-1])
        )
        return nn.Sequential(nn.Flatten(), encoder), decoder

    def _augmentation(self, source, random_state):
        if not self.noise:
            return self.augment
        noise = GaussianNoise(self.noise * self._task.scale)
        if self.augment is None:
            return noise
        return lambda X, y: noise(*self.augment(X, y))

    # ------------------------------------------------------------------------------------- answers
    def transform(self, X):
        """Encode samples.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        codes : ndarray or torch.Tensor of shape (n_samples, n_components_)
        """
        check_is_fitted(self, "net_")
        codes = self._forward(X, lambda z, dtype: z.contiguous(), "transform", self._encode)
        return convert_like(codes, like=X)

    def _encode(self, X):
        return self.net_.module_(X, encode=True)

    @torch.no_grad()
    def inverse_transform(self, X):
        """Decode codes.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        samples : ndarray or torch.Tensor
            In the units and the layout of the data of `fit`: (n_samples, n_features) for rows.

        Raises
        ------
        ValueError
            If `X` is not of shape (n_samples, n_components_), or an array that holds NaN or
            infinity.
        """
        check_is_fitted(self, "net_")
        module, codes = self.net_.module_.eval(), from_array_api(X)
        if not torch.is_tensor(codes):
            codes = check_array(codes, dtype=[np.float64, np.float32])
        if codes.ndim != 2 or codes.shape[1] != self.n_components_:
            raise ValueError(
                f"Expected codes of shape (n_samples, {self.n_components_}), got "
                f"{tuple(codes.shape)}."
            )
        dtype = self._precision.output_dtype(codes)
        codes = to_tensor(codes, module.mean.device, module.mean.dtype)
        batches = codes.split(self._samples_at_once(self.image_shape_))
        with prediction_threads(self.net_, len(codes)):
            decoded = (module.decode(Z) for Z in batches)
            samples = self._as_in_fit(concatenate(decoded, len(codes))).to(dtype)
        return convert_like(samples, like=X)

    def _as_in_fit(self, images):
        """Images, (n, channels, height, width), in the layout of the data of `fit`."""
        if self._ndim == 2:
            return images.flatten(1)
        if self._ndim == 3:
            return images[:, 0]
        return images.permute(0, 2, 3, 1) if self._channels_last else images

    def reconstruction_error(self, X):
        """Mean squared difference of every sample and its reconstruction: an anomaly score.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        error : ndarray or torch.Tensor of shape (n_samples,)
            The mean over the values of a sample, in squared units of X; the greater the stranger.
        """
        images, reconstructed = self._reconstruct(X, "reconstruction_error")
        images = to_tensor(images, reconstructed.device, reconstructed.dtype)
        return convert_like((images - reconstructed).square().flatten(1).mean(1), like=X)

    def score(self, X, y=None, sample_weight=None):
        """R² of the reconstruction.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            The share of the variance, summed over all values of a sample, that the reconstruction
            keeps: for PCA, on its training data, the sum of ``explained_variance_ratio_``.
        """
        images, reconstructed = self._reconstruct(X, "score")
        return self._task.score(images, reconstructed, to_numpy(sample_weight))

    def _reconstruct(self, X, method):
        """Images as they were read, and reconstructed."""
        check_is_fitted(self, "net_")
        reconstructed = self._forward(X, lambda z, dtype: z, method)
        return self._validate_data(from_array_api(X), reset=False), reconstructed

    @property
    def _n_features_out(self):
        return self.n_components_


__getattr__, __dir__, __all__ = mirror("decomposition", [Autoencoder])
