// Places in the Python program, for the origins of nodes (mlx/debug.h).
#pragma once

#include "python/src/bind.h"

namespace mlx::python {

// The place that runs now, as a number: the innermost line and its callers as far as they are this package,
// with the first line of the user's. 0 on threads that run no Python.
uint32_t site_here();
// (file, function, line) from the inside out.
nb::list site_frames(uint32_t site);
// Code below `package` is this package's; that below `skipped` counts as not there.
void set_package_folders(std::string package, std::string skipped);

}  // namespace mlx::python
