// Exchange of arrays between the processes of a group (none given: all, as init() finds them). Every process
// calls the same operations in the same order, with arrays of one shape and dtype; where they do not, the
// evaluation fails and says what met what. In a group of one, all that needs no other process gives back its
// argument.
#pragma once

#include <optional>

#include "mlx/array.h"
#include "mlx/distributed/distributed.h"
#include "mlx/utils.h"

namespace mlx::core::distributed {

// The sum, maximum or minimum over the processes, on each of them, with the same bits. 16-bit floats are
// added in float32 and rounded once.
array all_sum(const array& x, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});
array all_max(const array& x, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});
array all_min(const array& x, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});

// The arrays of all processes, joined along the first axis in the order of ranks.
array all_gather(const array& x, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});

// This process's part, along the first axis, of the sum.
array sum_scatter(const array& x, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});

// Sends x when it is evaluated; the result is x.
array send(const array& x, int dst, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});

// What the process with rank `src` sends to this one.
array recv(Shape shape, Dtype dtype, int src, std::optional<Group> group = std::nullopt,
           StreamOrDevice s = {});
array recv_like(const array& x, int src, std::optional<Group> group = std::nullopt, StreamOrDevice s = {});

}  // namespace mlx::core::distributed
