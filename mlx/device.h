// Where work runs.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <variant>

namespace mlx::core {

struct Device {
  enum class DeviceType { cpu, gpu };
  static constexpr DeviceType cpu = DeviceType::cpu;
  static constexpr DeviceType gpu = DeviceType::gpu;

  constexpr Device(DeviceType type, int index = 0) : type(type), index(index) {}
  bool operator==(const Device& other) const = default;
  bool operator<(const Device& rhs) const { return type != rhs.type ? type < rhs.type : index < rhs.index; }

  DeviceType type;
  int index;
};

inline bool operator==(const Device& device, Device::DeviceType type) { return device.type == type; }

const Device& default_device();
// Raises std::invalid_argument where the machine has no such device.
void set_default_device(const Device& d);
bool is_available(const Device& d);
int device_count(Device::DeviceType type);
// For the CPU: "architecture", "instruction_set", "threads", "memory_size".
const std::unordered_map<std::string, std::variant<std::string, size_t>>& device_info(
    const Device& d = default_device());

}  // namespace mlx::core
