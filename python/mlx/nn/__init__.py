"""Neural networks: modules, layers, losses and initializers."""

from . import init as init
from . import losses as losses
from .layers import *  # noqa: F403
from .planning import LayerPlan as LayerPlan
from .planning import Plan as Plan
from .planning import plan as plan
from .saving import Checkpoint as Checkpoint
from .saving import load_checkpoint as load_checkpoint
from .saving import save_checkpoint as save_checkpoint
from .utils import average_gradients as average_gradients
from .utils import value_and_grad as value_and_grad
