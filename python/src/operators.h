// The type slots of mlx.core.array: operators, comparison, truth, subscripts, buffers.
#pragma once

#include "python/src/bind.h"

namespace mlx::python {

const PyType_Slot* array_slots();

}  // namespace mlx::python
