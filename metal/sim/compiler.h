// The machine's compiler makes shared objects from transformed sources; they are kept on disk.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mlx::core::metal::sim {

struct Compiler {
  std::vector<std::string> command;  // "g++", or "python", "-m", "ziglang", "c++"
  std::string version;               // what it says of itself
  bool clang = false;
};

// MLX_METAL_SIMULATOR_CXX, g++, clang++, c++, ziglang; the first one that exists. Throws std::runtime_error
// where there is none.
const Compiler& compiler();

// Where the headers lie that kernels include.
const std::filesystem::path& include_folder();

// The shared object of a Metal source; compiled where no earlier call or process did. Throws
// std::invalid_argument with the compiler's log.
std::filesystem::path build_object(const std::string& source, const std::string& name, bool fast_math);

}  // namespace mlx::core::metal::sim
