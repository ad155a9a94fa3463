// From the Metal Shading Language to C++: what the language adds is rewritten in place, so that lines stay
// where they were. Input is preprocessed source.
//
//   address spaces      erased; `constant` becomes const; threadgroup variables become references to memory
//   that
//                       the threads of a group share
//   [[attributes]]      erased; those of kernels and of their parameters become a table of kernels
//   function constants  variables in a table, with what is derived from them
//   literals            1.0 is a float; 1.0h, 1.0bf
#pragma once

#include <string>

namespace mlx::core::metal::sim {

// Throws std::invalid_argument with file and line for what the simulator cannot run.
std::string transform(const std::string& source, const std::string& name);

}  // namespace mlx::core::metal::sim
