// Tuples whose items have names too, as the array API standard wants them: plain tuples to everything else.
#pragma once

#include <initializer_list>

#include "python/src/bind.h"

namespace mlx::python {

// `type`: the name of the class, made at its first use. One array per field.
nb::object named_tuple(const char* type, std::initializer_list<const char*> fields, const Arrays& values);

}  // namespace mlx::python
