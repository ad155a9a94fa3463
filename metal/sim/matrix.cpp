// simdgroup_multiply_accumulate: one lane computes all elements when the last one has come.
#include <cstring>

#include "metal/sim/group.h"

namespace mlx::core::metal::sim {

namespace {

constexpr int multiply_operation = 1000;

struct Elements {
  float a[2], b[2], c[2], d[2];
};
static_assert(sizeof(Elements) == sizeof(metal_simulator::Exchange::slots[0]));

uint32_t row(uint32_t lane) { return (lane >> 4 << 2) + (lane >> 1 & 3); }
uint32_t column(uint32_t lane) { return ((lane >> 3 & 1) << 2) + ((lane & 1) << 1); }

void multiply_all(Elements* lanes) {
  float a[8][8], b[8][8], d[8][8];
  for (uint32_t l = 0; l < 32; ++l)
    for (uint32_t i = 0; i < 2; ++i) {
      a[row(l)][column(l) + i] = lanes[l].a[i];
      b[row(l)][column(l) + i] = lanes[l].b[i];
      d[row(l)][column(l) + i] = lanes[l].c[i];
    }
  for (int i = 0; i < 8; ++i)
    for (int k = 0; k < 8; ++k)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
  for (uint32_t l = 0; l < 32; ++l)
    for (uint32_t i = 0; i < 2; ++i) lanes[l].d[i] = d[row(l)][column(l) + i];
}

}  // namespace

void Group::multiply(const float* operands, float* result, const Place& place) {
  metal_simulator::Exchange* e = meet(multiply_operation, operands, 6 * sizeof(float), place);
  if (e->active != ~0u) fault("product of matrices by a SIMD-group that lacks lanes", place);
  auto* lanes = reinterpret_cast<Elements*>(e->slots);
  if (!e->done) {
    multiply_all(lanes);
    e->done = true;
  }
  std::memcpy(result, lanes[lane()].d, sizeof(lanes->d));
}

}  // namespace mlx::core::metal::sim
