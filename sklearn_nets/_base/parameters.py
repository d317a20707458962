"""One declaration per parameter: its default, its bounds and its description, in one place."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from textwrap import indent
from typing import Any

import numpy as np
import torch

from .._utils.sklearn_compat import Interval, Options, StrOptions

POSITIVE_INT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


def parameter(default, constraints, description: str, *, words: str | None = None, kw_only=True):
    """Declare a parameter of an estimator: a dataclass field.

    Parameters
    ----------
    default : object
        Of an immutable type.
    constraints : list or "no_validation"
        As in scikit-learn's ``_parameter_constraints``.
    description : str
        What it is, for the docstring.
    words : str, optional
        Its type in the docstring; by default made of the constraints.
    kw_only : bool, default=True
        Whether it must be passed by keyword.
    """
    metadata = {"constraints": constraints, "description": description, "words": words}
    return field(default=default, kw_only=kw_only, metadata=metadata)


def net_class(cls=None, **blocks: str):
    """Decorate an estimator: its `__init__`, constraints and docstring come from its parameters.

    In the docstring ``{parameters}`` becomes the list of parameters, first those of the class, last
    those that all nets share, and ``{name}`` the text of the keyword argument `name`.
    """
    if cls is None:
        return lambda cls: net_class(cls, **blocks)
    cls = dataclass(eq=False, repr=False, kw_only=True)(cls)
    cls.__init__ = _suggest_names(cls.__init__)
    declared = {f.name: f for f in fields(cls) if f.metadata}
    cls._parameter_constraints = {n: f.metadata["constraints"] for n, f in declared.items()}
    own, shared = vars(cls).get("__annotations__", {}), NetParameters.__dataclass_fields__
    order = sorted(declared, key=lambda n: (n in shared, declared[n].kw_only, n not in own))
    blocks["parameters"] = "\n".join(_describe(declared[name]) for name in order)
    lines = []
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        lines.append(blocks.get(line[1:-1], line) if line.startswith("{") else line)
    cls.__doc__ = "\n".join(lines)
    return cls


def check_sizes(name: str, sizes, optional: bool = False) -> list[int]:
    """Refuse sizes of layers, or channels of stages, that are no positive integers.

    Parameters
    ----------
    name : str
        Of the parameter.
    sizes : int or iterable of int
    optional : bool, default=False
        Whether there may be none.
    """
    numbers = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    whole = all(isinstance(size, Integral) and size > 0 for size in numbers)
    if not whole or not (numbers or optional):
        raise ValueError(
            f"{name} must be > 0, an integer for each layer or stage, as (16, 32); got {sizes!r}."
        )
    return [int(size) for size in numbers]  # torch takes numpy's integers in some places only


ALIASES = {
    "epochs": "max_iter",
    "max_epochs": "max_iter",
    "n_epochs": "max_iter",
    "lr": "learning_rate_init",
    "optimizer": "solver",
    "weight_decay": "alpha",
    "hidden_sizes": "hidden_layer_sizes",
    "dropout_rate": "dropout",
    "num_layers": "depth",
    "patience": "n_iter_no_change",
    "seed": "random_state",
}


def _suggest_names(init):
    """An `__init__` whose TypeError knows what other libraries call a parameter."""

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            known = type(self).__dataclass_fields__
            meant = [
                ALIASES.get(n, n) for n in kwargs if n not in known and ALIASES.get(n) in known
            ]
            if not meant:
                raise
            hint = f"Did you mean {' and '.join(map(repr, meant))}?"
            raise TypeError(f"{error}. {hint}") from None

    return __init__


def _describe(f) -> str:
    """One entry of a numpydoc list of parameters."""
    constraints = f.metadata["constraints"]
    words = f.metadata["words"] or _join([w for c in constraints for w in _words(c)])
    return f"{f.name} : {words}, default={f.default!r}\n" + indent(
        inspect.cleandoc(f.metadata["description"]), "    "
    )


def _join(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _words(constraint) -> list[str]:
    """What a constraint allows, in words."""
    if isinstance(constraint, StrOptions):
        options = sorted(constraint.options)
        return ["{" + ", ".join(map(repr, options)) + "}" if len(options) > 1 else repr(options[0])]
    if isinstance(constraint, Interval):
        return ["int" if constraint.type is Integral else "float"]
    if isinstance(constraint, Options):
        return [str(option) for option in constraint.options]
    if constraint == "random_state":
        return ["int", "RandomState instance", "None"]
    if constraint is callable:
        return ["callable"]
    if isinstance(constraint, type):
        return [constraint.__name__]
    return [{None: "None", "boolean": "bool", "verbose": "bool"}.get(constraint, str(constraint))]


@dataclass(eq=False, repr=False, kw_only=True)
class NetParameters:
    """Parameters of training that every net shares; the generated `__init__` only stores them."""

    solver: str = parameter(
        "adam", [StrOptions({"adam", "adamw", "sgd"})],
        """Optimizer: 'sgd' with momentum, 'adam' (Kingma & Ba 2014), 'adamw' (Loshchilov & Hutter
        2019).""",
    )  # fmt: skip
    alpha: float = parameter(
        0.0001, [NOT_NEGATIVE],
        """Strength of the L2 penalty alpha / 2 · ||W||² / Σw on the weights (not on biases), where
        Σw is the sum of the batch's sample weights.""",
    )  # fmt: skip
    batch_size: int | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE_INT],
        "Samples in a mini-batch; 'auto' is min(200, n_samples).",
    )  # fmt: skip
    learning_rate: str = parameter(
        "constant", [StrOptions({"constant", "invscaling", "adaptive", "onecycle"})],
        """Schedule of the learning rate. For solver='sgd', 'invscaling' divides it by t ** power_t
        after t samples and 'adaptive' by 5 whenever training stalls. 'onecycle' warms up for a
        fifth of `max_iter` epochs and goes down to zero: the same accuracy in fewer epochs, all of
        which are run unless early stopping ends them. It is for all solvers but 'lbfgs' and 'gd',
        which search for the length of every step.""",
    )  # fmt: skip
    learning_rate_init: float = parameter(0.001, [POSITIVE], "Initial learning rate.")
    power_t: float = parameter(0.5, [NOT_NEGATIVE], "Exponent of 'invscaling'.")
    max_iter: int = parameter(
        200, [POSITIVE_INT], "Maximum number of epochs, passes over the data."
    )
    shuffle: bool = parameter(
        True, ["boolean"], "Whether every epoch takes the samples in a new order."
    )
    random_state: Any = parameter(
        None, ["random_state"],
        """Draws the weights, the validation split and the order of samples. An int gives the same
        net every time, bitwise on the CPU.""",
    )  # fmt: skip
    tol: float = parameter(
        1e-4, [NOT_NEGATIVE],
        """An epoch that improves the loss (or, with early stopping, the score) by less does not
        count as an improvement.""",
    )  # fmt: skip
    verbose: bool = parameter(False, ["verbose"], "Whether to print loss and score of every epoch.")
    warm_start: bool = parameter(
        False, ["boolean"],
        """Whether `fit` goes on from the weights of the last `fit`. What a net is made of, as its
        layers, must be the same.""",
    )  # fmt: skip
    momentum: float = parameter(
        0.9, [Interval(Real, 0, 1, closed="both")], "Momentum of 'sgd', between 0 and 1."
    )
    nesterovs_momentum: bool = parameter(True, ["boolean"], "Whether that momentum is Nesterov's.")
    early_stopping: bool = parameter(
        False, ["boolean"],
        """Whether to hold out data, score it after every epoch, stop when the score stalls and
        keep the weights that scored best.""",
    )  # fmt: skip
    validation_fraction: float = parameter(
        0.1, [Interval(Real, 0, 1, closed="left")],
        "Share of the data that early stopping holds out.",
    )  # fmt: skip
    beta_1: float = parameter(
        0.9, [Interval(Real, 0, 1, closed="left")], "Decay of the first moment of 'adam'."
    )
    beta_2: float = parameter(
        0.999, [Interval(Real, 0, 1, closed="left")], "Decay of the second moment of 'adam'."
    )
    epsilon: float = parameter(
        1e-8, [POSITIVE],
        "Numerical stability of 'adam': the \"epsilon hat\" of the paper's section 2.",
    )  # fmt: skip
    n_iter_no_change: int = parameter(
        10, [POSITIVE_INT, Options(Real, {np.inf})],
        "Epochs in a row without improvement that end the training.",
    )  # fmt: skip
    device: str | torch.device = parameter(
        "auto", [str, torch.device],
        """Where to compute; 'auto' is the device of a tensor X, else cuda, mps or cpu, in this
        order.""",
        words="str or torch.device",
    )  # fmt: skip
    precision: str = parameter(
        "auto", [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        """Type to compute in. 'auto' is float32 on the CPU and, on an accelerator, float32 weights
        under bfloat16 autocast; rows that stand for no image keep X's own type on the CPU, and
        are computed in float32 on an accelerator, without 'bfloat16'.""",
    )  # fmt: skip
    callbacks: list | None = parameter(
        None, [list, None],
        """skorch callbacks, called at every epoch, and at every batch if they listen to batches.
        `Checkpoint` and `EarlyStopping` need a validation set, or ``monitor="train_loss"`` (a
        Checkpoint None); `LRScheduler`, `EpochScoring`, `Freezer` and their like, which need
        skorch's own training loop, are refused.""",
        words="list of skorch callbacks or None",
    )  # fmt: skip
