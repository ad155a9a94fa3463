// What the tests of metal/apple share: the device on the stand-in, and what the stand-in tells.
#pragma once

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "metal/apple/messages.h"

namespace apple_tests {

using namespace mlx::core::metal;

inline int failures = 0, checks = 0;
inline void check(bool ok, const std::string& what) {
  ++checks;
  if (!ok) ++failures, std::printf("FAILED: %s\n", what.c_str());
}
inline void contains(const std::string& text, const std::string& part) {
  check(text.find(part) != std::string::npos, "'" + text + "' contains '" + part + "'");
}
template <class E = std::exception>
std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("another type: ") + e.what();
  }
  return "no error";
}

inline void* standin = nullptr;
template <class F>
F* control(const char* name) {
  return reinterpret_cast<F*>(dlsym(standin, name));
}
inline std::string faults() { return control<const char*()>("standin_faults")(); }
inline std::string live() { return control<const char*()>("standin_live")(); }

inline Device* gpu = nullptr;
inline bool older = false;  // a system without residency sets

inline const char* const kSource = R"(
#include <metal_stdlib>
using namespace metal;
constant uint times [[function_constant(0)]];
kernel void add(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                device float* out [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  out[i] = a[i] + b[i];
}
kernel void scale(device float* x [[buffer(0)]], constant float& by [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  x[i] = x[i] * by * times;
}
kernel void beyond(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i + 1000000] = 1;
}
)";

inline std::shared_ptr<Buffer> floats(const std::vector<float>& values) {
  auto b = gpu->allocate(values.size() * sizeof(float));
  std::memcpy(b->contents(), values.data(), b->length());
  return b;
}
inline float first(const std::shared_ptr<Buffer>& b) { return *static_cast<float*>(b->contents()); }

// Misuse that the stand-in must see: otherwise the checks above prove nothing.
inline void fault_of(const std::function<void()>& f, const char* expected) {
  f();
  contains(faults(), expected);
}
// apple_memory.cpp
void test_residency();
void test_heaps();
void test_order();
void test_watching_residency();
void test_watching_heaps();
void test_watching_order();

}  // namespace apple_tests
