// The callables that transforms return: they hold the user's function, look like it (name, doc, signature)
// and take part in garbage collection, as a model often holds a transformed function that holds the model.
#pragma once

#include <functional>

#include "python/src/bind.h"

namespace mlx::python {

struct Transformed {
  nb::object fun;      // what is transformed
  nb::object held[2];  // further objects that `call` needs
  // Gets this object, a tuple and a dict (or null).
  std::function<nb::object(Transformed&, nb::handle args, nb::handle kwargs)> call;
};

nb::object make_transformed(Transformed t);
// The function argument of a transform.
void check_callable(nb::handle fun, const char* function);
// Calls a Python function.
nb::object call_python(nb::handle fun, nb::handle args, nb::handle kwargs);
void init_callable(Module& m);

}  // namespace mlx::python
