"""Neural networks: modules, layers, losses and initializers."""

from . import init, losses  # noqa: F401
from .layers import *  # noqa: F403
from .planning import LayerPlan, Plan, plan  # noqa: F401
from .saving import Checkpoint, load_checkpoint, save_checkpoint  # noqa: F401
from .utils import average_gradients, value_and_grad  # noqa: F401
