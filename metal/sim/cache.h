// The folder where compiled kernels are kept, from one process to the next.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mlx::core::metal::sim {

// Of this user alone, writable: objects from it are executed. $XDG_CACHE_HOME or ~/.cache, then
// mlx/metal-simulator; else a folder of temporary files. Throws std::runtime_error where there is none.
const std::filesystem::path& cache_folder();

// Makes a folder, where it does not exist; false where it is not this user's or cannot be written.
bool own_folder(const std::filesystem::path& folder);

// A file appears whole or not at all.
void write_file(const std::filesystem::path& file, std::string_view text);
std::string unique_suffix();

std::string hash(const std::string& text);

// Deletes what was not used for longest, so that at most MLX_METAL_SIMULATOR_CACHE bytes (256 MiB) stay.
void trim_cache();

}  // namespace mlx::core::metal::sim
