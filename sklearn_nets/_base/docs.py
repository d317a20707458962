"""The words that every net shares, described once and set into each estimator's docstring."""

from __future__ import annotations

import inspect

TRAINING = """
solver : {solvers}, default='adam'
    Optimiser: 'sgd' with momentum, 'adam' (Kingma & Ba 2014){more_solvers}.
alpha : float, default=0.0001
    Strength of the L2 penalty alpha / 2 · ||W||² / Σw on the weights (not on biases), where Σw is
    the sum of the batch's sample weights.{decoupled}
batch_size : int or 'auto', default='auto'
    Samples in a mini-batch; 'auto' is min(200, n_samples).
learning_rate : {{'constant', 'invscaling', 'adaptive', 'onecycle'}}, default='constant'
    Schedule of the learning rate. For solver='sgd', 'invscaling' divides it by t ** power_t after
    t samples and 'adaptive' by 5 whenever training stalls. For 'sgd' and 'adam', 'onecycle' warms
    up for a fifth of `max_iter` epochs and goes down to zero: the same accuracy in fewer epochs,
    all of which are run unless early stopping ends them.
learning_rate_init : float, default=0.001
    Initial learning rate.
power_t : float, default=0.5
    Exponent of 'invscaling'.
max_iter : int, default=200
    Most epochs, passes over the data.
shuffle : bool, default=True
    Whether every epoch takes the samples in a new order.
random_state : int, RandomState instance or None, default=None
    Draws the weights, the validation split and the order of samples. An int gives the same net
    every time, bitwise on the CPU.
tol : float, default=0.0001
    An epoch that improves the loss (or, with early stopping, the score) by less does not count as
    an improvement.
verbose : bool, default=False
    Whether to print loss and score of every epoch.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last `fit`.
momentum : float, default=0.9
    Momentum of 'sgd', between 0 and 1.
nesterovs_momentum : bool, default=True
    Whether that momentum is Nesterov's.
early_stopping : bool, default=False
    Whether to hold out data, score it after every epoch, stop when the score stalls and keep the
    weights that scored best.
validation_fraction : float, default=0.1
    Share of the data that early stopping holds out.
beta_1, beta_2 : float, default=0.9 and 0.999
    Decay of the moments of 'adam'.
epsilon : float, default=1e-08
    Numerical stability of 'adam': the "epsilon hat" of the paper's section 2.
n_iter_no_change : int, default=10
    Epochs in a row without improvement that end the training.
device : str or torch.device, default='auto'
    Where to compute; 'auto' is the device of a tensor X, else cuda, mps or cpu, in this order.
precision : {{'auto', 'float32', 'float64', 'bfloat16'}}, default='auto'
    Type to compute in. {precision}
callbacks : list of skorch callbacks, default=None
    Told of every epoch, and of every batch if they listen to batches.
"""

CLASS_WEIGHT = """
class_weight : dict, 'balanced' or None, default=None
    Factor for the weight of each class's {of}; 'balanced' makes all classes weigh the same.
"""

IMAGE_TRAINING = """
augment : callable(X, y) -> (X, y), default=None
    Changes every training batch: X of shape (n, channels, height, width) as it was read, on the
    device, and y, class indices, or masks of them. `RandomFlipShift`, or transforms of
    ``torchvision.transforms.v2`` (which take class indices along, but not masks).
compile : bool, default=False
    Whether `torch.compile` translates the net, which takes a minute or so and needs a C++ compiler;
    pays for itself in long trainings on an accelerator. The numbers may differ by rounding.
"""

IMAGE_SHAPE = """
image_shape : tuple (channels, height, width), default=None
    What a flat row of X stands for, so that StandardScaler or PCA can stand before the net. Rows
    without it are read as images of one channel and one row.
"""

FITTED = """
net_ : skorch.NeuralNet
    The fitted net; its torch module is ``net_.module_``.
history_ : skorch.history.History
    One row an epoch.
loss_ : float
    Loss of the last epoch, penalty included.
loss_curve_ : list of shape (n_iter_,)
    Loss of every epoch{not_lbfgs}.
best_loss_ : float or None
    Least loss of an epoch; None with early stopping.
validation_scores_ : list of shape (n_iter_,) or None
    Score ({score}) of the validation set after every epoch.
validation_loss_curve_ : list of shape (n_iter_,)
    Its loss, without penalty; only where there is a validation set.
best_validation_score_ : float or None
    Best of these with early stopping.
n_iter_ : int
    Epochs run by the last `fit`.
t_ : int
    Training samples seen by the optimiser.
n_outputs_ : int
    Outputs of the net; two classes need one.
out_activation_ : str
    Activation of the outputs.
n_parameters_ : int
    Number of learnt weights.
device_ : str
    Where the net was fitted.
n_features_in_ : int
    Values of one sample.
"""

LBFGS = ", or 'lbfgs' on all samples at once"
ADAMW = ", 'adamw' (Loshchilov & Hutter 2019)"
DECOUPLED = " For 'adamw' it is the decoupled\n    weight decay, and no part of the loss."
OWN_TYPE = (
    "'auto' is X's own on the CPU, as in scikit-learn, and float32 on an accelerator; "
    "'bfloat16' is refused."
)
IMAGE_TYPE = (
    "'auto' is float32 on the CPU and, on an accelerator, float32 weights under bfloat16 "
    "autocast; rows that stand for no image keep X's own type on the CPU."
)


def describe(**blocks: str):
    """Set blocks of text into a class's docstring, each in the place and depth of ``{name}``."""

    def decorate(cls):
        lines = []
        for line in inspect.cleandoc(cls.__doc__).splitlines():
            block = blocks.get(line.strip().strip("{}")) if line.strip().startswith("{") else None
            lines.extend([line] if block is None else block.strip("\n").splitlines())
        cls.__doc__ = "\n".join(lines)
        return cls

    return decorate


def net_blocks(*, kind: str) -> dict[str, str]:
    """The shared blocks for a kind of net: "mlp", "mlp regressor", "image" or "masks"."""
    mlp = kind.startswith("mlp")
    score = {"mlp regressor": "R²", "masks": "mean IoU"}.get(kind, "accuracy")
    return {
        "training": TRAINING.format(
            solvers="{'lbfgs', 'sgd', 'adam'}" if mlp else "{'sgd', 'adam', 'adamw'}",
            more_solvers=LBFGS if mlp else ADAMW,
            decoupled="" if mlp else DECOUPLED,
            precision=OWN_TYPE if mlp else IMAGE_TYPE,
        ),
        "class_weight": CLASS_WEIGHT.format(of="pixels" if kind == "masks" else "samples"),
        "image_training": IMAGE_TRAINING,
        "image_shape": IMAGE_SHAPE,
        "fitted": FITTED.format(not_lbfgs=" (not of 'lbfgs')" if mlp else "", score=score),
    }
