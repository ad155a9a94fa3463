// The GPU of Apple silicon.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <variant>

namespace mlx::core::metal {

// Whether this build and machine can run on such a GPU; then Device::gpu exists and is the default device.
bool is_available();
// "device_name", "architecture", "memory_size", "max_buffer_length", "max_recommended_working_set_size",
// "resource_limit" (buffers that can exist at once). Raises std::runtime_error without a device.
const std::unordered_map<std::string, std::variant<std::string, size_t>>& device_info();
// Records what the GPU does into a file until stop_capture. Raises std::runtime_error where that is
// impossible.
void start_capture(const std::string& path);
void stop_capture();
// How often a primitive that has no kernel for its dtype ran on the CPU in the GPU's place, by name.
std::map<std::string, uint64_t> hand_overs();
// How often encoding work for the GPU waited for values that it was still computing, by the primitive's name.
std::map<std::string, uint64_t> waits();
// How often an evaluation was encoded behind one whose values it needs, while the GPU was computing them.
uint64_t continued();

}  // namespace mlx::core::metal
