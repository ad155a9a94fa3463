// mx.random.state: the generator's current key, which transforms treat like an array in a list.
#pragma once

#include "python/src/bind.h"

namespace mlx::python {

struct RandomState {};
array random_state_key();
void set_random_state_key(const array& key);
inline bool is_random_state(nb::handle h) { return nb::isinstance<RandomState>(h); }

}  // namespace mlx::python
