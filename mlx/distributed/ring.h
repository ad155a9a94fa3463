// Collective operations of the processes that some links join.
#pragma once

#include <memory>

#include "mlx/distributed/group.h"
#include "mlx/distributed/links.h"

namespace mlx::core::distributed::detail {

std::shared_ptr<GroupImpl> ring_over(std::unique_ptr<Links> links);

}  // namespace mlx::core::distributed::detail
