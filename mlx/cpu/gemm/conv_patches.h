// Image patches for the direct kernels: a box of output positions, and the part of the input that it reads
// as float32 with a border of zeros, so that every patch lies inside. Where the input already is that, it is
// read in place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "mlx/cpu/gemm/conv_geometry.h"
#include "mlx/cpu/gemm/conv_kernels.h"
#include "mlx/cpu/gemm/direct.h"

namespace mlx::core::cpu::gemm_detail {

// A range cut into `count` nearly equal parts.
struct Parts {
  Parts(int64_t extent, int64_t at_most)
      : extent(extent), count((extent + at_most - 1) / at_most), size((extent + count - 1) / count) {
    count = (extent + size - 1) / size;
  }
  int64_t begin(int64_t i) const { return i * size; }
  int64_t length(int64_t i) const { return std::min(size, extent - i * size); }
  int64_t extent, count, size;
};

// Whole lines of a phase's grid: some lines of a plane, or some planes of an image, or some images.
struct Box {
  int64_t n, z, y;                // where it begins
  int64_t images, planes, lines;  // how many of each
};

class Boxes {
 public:
  // Boxes of about `positions` positions.
  Boxes(int64_t batch, const Dims& size, int64_t positions);
  int64_t count() const { return n_.count * z_.count * y_.count; }
  Box operator[](int64_t i) const;
  int64_t images() const { return n_.size; }
  int64_t planes() const { return z_.size; }
  int64_t lines() const { return y_.size; }

 private:
  Parts y_, z_, n_;
};

class PatchSpace {
 public:
  PatchSpace(const ConvShape& s, const Phase& p, const Boxes& boxes, const ConvTable& t, const void* input);

  int64_t floats() const { return floats_; }  // that `fill` needs
  // The patches of a box and group: position (n, z, y, x) of the box begins at `line(n, z, y) + x * step()`,
  // its tap at `offset(tap)` from there.
  const float* fill(const Box& box, int64_t group, float* space) const;
  int64_t offset(const Tap& tap) const;
  int64_t line(int64_t n, int64_t z, int64_t y) const {
    return n * image_ + z * p_.step[0] * plane_ + y * p_.step[1] * row_;
  }
  int64_t step() const { return p_.step[2] * pixel_; }
  // Stretches of (tap, channel) that are contiguous in a patch; `a` is the offset, `b` the first k.
  std::vector<DirectRun> runs() const;

 private:
  const ConvShape& s_;
  const Phase& p_;
  const Elem e_;
  const ConvTable& t_;
  const char* input_;
  const int64_t channels_;
  Dims low_ = {0, 0, 0}, reach_ = {0, 0, 0};  // smallest offset of a tap, and largest less smallest
  bool in_place_;
  int64_t pixel_, row_, plane_, image_, floats_ = 0;
};

}  // namespace mlx::core::cpu::gemm_detail
