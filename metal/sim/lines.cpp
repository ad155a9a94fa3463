#include "metal/sim/lines.h"

#include <cstdio>
#include <sstream>
#include <vector>

#include "metal/sim/compiler.h"
#include "metal/sim/lasting.h"
#include "metal/sim/process.h"

namespace mlx::core::metal::sim {

namespace {

std::vector<std::string> symbolizer() {
  for (const char* name : {"addr2line", "llvm-addr2line", "llvm-addr2line-16", "llvm-addr2line-14"})
    if (const std::string file = find_program(name); !file.empty()) return {file, "-i", "-e"};
  return {};
}

}  // namespace

std::string line_of(const std::string& object, uintptr_t low, uintptr_t address) {
  static const std::vector<std::string>& program = lasting(symbolizer);
  if (program.empty()) return "";
  char offset[32];
  std::snprintf(offset, sizeof(offset), "0x%llx", static_cast<unsigned long long>(address - low));
  std::vector<std::string> command = program;
  command.insert(command.end(), {object, offset});
  std::istringstream lines(run_process(command).output);
  std::string innermost;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("??")) continue;
    line = line.substr(0, line.find(" ("));  // (discriminator 2)
    if (line.starts_with("./")) line = line.substr(2);
    if (line.find(include_folder().string()) == std::string::npos) return line;
    if (innermost.empty()) innermost = line;
  }
  return innermost;
}

}  // namespace mlx::core::metal::sim
