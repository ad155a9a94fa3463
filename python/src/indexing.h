// Subscripts of arrays, as NumPy reads them.
#pragma once

#include "python/src/bind.h"

namespace mlx::python {

array get_item(const array& a, nb::handle key);
// `a` with the selected elements replaced; the value takes a's dtype.
array set_item(const array& a, nb::handle key, nb::handle value);

// a.at[key].add(value) and the like: unlike assignment, an element that is selected twice is updated twice.
enum class Update { assign, add, subtract, multiply, divide, maximum, minimum };
array update_item(const array& a, nb::handle key, const array& value, Update update);

}  // namespace mlx::python
