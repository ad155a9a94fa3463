// Running a program and reading what it says.
#pragma once

#include <string>
#include <vector>

namespace mlx::core::metal::sim {

struct Finished {
  int status = -1;     // of the exit; -1 where it could not be started or was killed
  std::string output;  // standard output and error together
};
Finished run_process(const std::vector<std::string>& command);

// The file that `name` is in PATH, or "".
std::string find_program(const std::string& name);

}  // namespace mlx::core::metal::sim
