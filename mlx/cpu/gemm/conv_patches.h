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

// A box of a phase's grid.
struct Box {
  int64_t n, z, y, x;                    // where it begins
  int64_t images, planes, lines, width;  // its extent
  int64_t all_lines() const { return images * planes * lines; }
};

class Boxes {
 public:
  // Boxes of about `positions` positions: long in x, then nearly as deep as high, then several images.
  Boxes(int64_t batch, const Dims& size, int64_t positions);
  int64_t count() const { return n_.count * z_.count * y_.count * x_.count; }
  Box operator[](int64_t i) const;
  Box largest() const { return {0, 0, 0, 0, n_.size, z_.size, y_.size, x_.size}; }

 private:
  Parts x_, y_, z_, n_;
};

// Lengths of the stretches of (tap, channel) that are contiguous in a padded copy of the input.
std::vector<int64_t> run_lengths(const Phase& p, int64_t channels);

class PatchSpace {
 public:
  // `slack`: elements behind a patch that may be read (and never in place, then). With `pairs`, an element is
  // that of a position and that of the next position, both bfloat16, in the place of a float. `As::halves`:
  // elements stay the 16 bits that they are.
  enum class As { floats, halves };
  PatchSpace(const ConvShape& s, const Phase& p, const Boxes& boxes, const ConvTable& t, const void* input,
             int64_t slack = 0, const DirectPairTable* pairs = nullptr, As as = As::floats);

  int64_t bytes() const { return elements_ * element_; }  // that `fill` needs
  // The patches of a box and group: position x of line i of the box begins at `line(box, i) + x * step()`,
  // its tap at `offset(tap)` from there.
  const void* fill(const Box& box, int64_t group, void* space) const;
  int64_t offset(const Tap& tap) const;
  int64_t line(const Box& box, int64_t i) const {
    return i / box.lines / box.planes * image_ + i / box.lines % box.planes * p_.step[0] * plane_ +
           i % box.lines * p_.step[1] * row_;
  }
  // Whether that line of a box, with the taps at `offset`, reads a line of the input; else it reads zeros,
  // which need not be multiplied.
  bool reads_input(const Box& box, int64_t i, int64_t offset) const {
    if (in_place_) return true;
    const int64_t z = (box.z + i / box.lines % box.planes) * p_.step[0] + low_[0] + offset / plane_;
    const int64_t y = (box.y + i % box.lines) * p_.step[1] + low_[1] + offset % plane_ / row_;
    return z >= 0 && z < s_.in[0] && y >= 0 && y < s_.in[1];
  }
  int64_t step() const { return p_.step[2] * pixel_; }
  // Where the position of line i of a box lies in the output.
  int64_t output(const Box& box, int64_t i) const {
    const int64_t n = box.n + i / box.lines / box.planes;
    const int64_t z = p_.first[0] + (box.z + i / box.lines % box.planes) * p_.stride[0];
    const int64_t y = p_.first[1] + (box.y + i % box.lines) * p_.stride[1];
    return ((n * s_.out[0] + z) * s_.out[1] + y) * s_.out[2] + p_.first[2] + box.x * p_.stride[2];
  }
  // Stretches of (tap, channel) that are contiguous in a patch; `a` is the offset, `b` the first k.
  std::vector<DirectRun> runs() const;

 private:
  // Columns [begin, end) of a line of the space, at `to`, are the pixels from `from` on.
  void copy_line(const char* from, int64_t begin, int64_t end, int64_t width, char* to) const;
  void join_line(const char* from, int64_t begin, int64_t end, int64_t width, char* to) const;

  const ConvShape& s_;
  const Phase& p_;
  const Elem e_;
  const ConvTable& t_;
  const DirectPairTable* pairs_;
  const char* input_;
  const int64_t element_, channels_;
  Dims low_ = {0, 0, 0}, reach_ = {0, 0, 0};  // smallest offset of a tap, and largest less smallest
  bool in_place_;
  int64_t pixel_ = 0, row_ = 0, plane_ = 0, image_ = 0, elements_ = 0;
};

}  // namespace mlx::core::cpu::gemm_detail
