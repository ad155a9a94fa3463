// What the tests of the simulator share: checks that count failures, and a kernel run in one call.
#pragma once

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "metal/device/device.h"

namespace test {

using namespace mlx::core::metal;

inline int failures = 0, checks = 0;

inline void check(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  if (++failures > 20) return;  // the first ones tell enough
  std::printf("FAILED: %s\n", what.c_str());
}
#define CHECK(condition) \
  test::check(condition, std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition)

inline int report() {
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures != 0;
}

template <class T>
std::shared_ptr<Buffer> buffer(const std::vector<T>& values) {
  auto b = device()->allocate(values.size() * sizeof(T));
  std::memcpy(b->contents(), values.data(), b->length());
  return b;
}
template <class T>
std::vector<T> values(const std::shared_ptr<Buffer>& b) {
  std::vector<T> v(b->length() / sizeof(T));
  std::memcpy(v.data(), b->contents(), v.size() * sizeof(T));
  return v;
}

struct Run {
  std::string source, kernel;
  std::vector<std::shared_ptr<Buffer>> buffers;
  Size threads, group;
  std::vector<FunctionConstant> constants = {};
  std::vector<size_t> threadgroup = {};
};

// Encodes one dispatch of it.
inline void encode(const std::shared_ptr<CommandBuffer>& commands, const Run& r,
                   const std::string& operation = "test") {
  commands->set_pipeline(device()->compile(r.source, "test.metal")->pipeline(r.kernel, r.constants));
  for (size_t i = 0; i < r.buffers.size(); ++i)
    if (r.buffers[i]) commands->set_buffer(static_cast<uint32_t>(i), r.buffers[i], 0, r.buffers[i]->length());
  for (size_t i = 0; i < r.threadgroup.size(); ++i)
    commands->set_threadgroup_memory(static_cast<uint32_t>(i), r.threadgroup[i]);
  commands->dispatch_threads(r.threads, r.group, operation);
}

// Runs it; the error's text or "".
inline std::string run(const Run& r) {
  static const auto queue = device()->new_queue();
  try {
    const auto commands = queue->command_buffer();
    encode(commands, r);
    commands->commit();
    commands->wait();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

}  // namespace test
