// A trace with its small element-wise groups as one node each (mlx/graph/fused.h).
#pragma once

#include "mlx/transforms/replay.h"

namespace mlx::core::detail {

// The nodes of `from`, whose inputs have the shapes and dtypes of `inputs`. What the evaluator would run
// together and what is small becomes one node; larger arrays are left to it, since to join what comes before
// and after the function saves more.
TracedNodes fuse_small(const TracedNodes& from, const Arrays& inputs, const Arrays& constants);

}  // namespace mlx::core::detail
