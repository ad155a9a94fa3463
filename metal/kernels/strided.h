// Where element i of an array with strides lies. Shapes and strides are those of host code's Layout.
#pragma once
#include <metal_stdlib>
using namespace metal;

METAL_FUNC long offset_of(ulong i, uint dims, constant uint* shape, constant long* strides) {
  if (dims == 1) return static_cast<long>(i) * strides[0];
  long offset = 0;
  for (uint d = dims; d-- > 0;) {
    offset += static_cast<long>(i % shape[d]) * strides[d];
    i /= shape[d];
  }
  return offset;
}
