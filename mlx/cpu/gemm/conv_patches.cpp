#include "mlx/cpu/gemm/conv_patches.h"

#include <cmath>
#include <cstring>
#include <iterator>

#include "mlx/cpu/isa/copy.h"

namespace mlx::core::cpu::gemm_detail {

namespace {

int64_t at_least_one(int64_t n) { return std::max<int64_t>(1, n); }

// How many lines of a plane go together, of `lines`: those of neighbouring planes are shared as well.
int64_t high(const Dims& size, int64_t lines) {
  if (size[0] == 1 || lines >= size[1]) return lines;
  return static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(lines))));
}

}  // namespace

Boxes::Boxes(int64_t batch, const Dims& size, int64_t positions)
    : x_(size[2], size[2] <= 2 * positions ? size[2] : positions),
      y_(size[1], at_least_one(high(size, positions / x_.size))),
      z_(size[0], at_least_one(positions / (x_.size * y_.size))),
      n_(batch, at_least_one(positions / (x_.size * y_.size * z_.size))) {
  if (x_.count * y_.count * z_.count > 1) n_ = Parts(batch, 1);
}

Box Boxes::operator[](int64_t i) const {
  const int64_t x = i % x_.count, y = i / x_.count % y_.count;
  const int64_t z = i / x_.count / y_.count % z_.count, n = i / x_.count / y_.count / z_.count;
  return {n_.begin(n),  z_.begin(z),  y_.begin(y),  x_.begin(x),
          n_.length(n), z_.length(z), y_.length(y), x_.length(x)};
}

std::vector<int64_t> run_lengths(const Phase& p, int64_t channels) {
  std::vector<int64_t> out;
  const Dims* before = nullptr;
  for (const Tap& tap : p.taps) {
    const Dims& o = tap.offset;
    if (before && (*before)[0] == o[0] && (*before)[1] == o[1] && (*before)[2] + 1 == o[2]) {
      out.back() += channels;
    } else {
      out.push_back(channels);
    }
    before = &o;
  }
  return out;
}

PatchSpace::PatchSpace(const ConvShape& s, const Phase& p, const Boxes& boxes, const ConvTable& t,
                       const void* input, int64_t slack, const DirectPairTable* pairs, As as)
    : s_(s),
      p_(p),
      e_(conv_elem(s.dtype)),
      t_(t),
      pairs_(pairs),
      input_(static_cast<const char*>(input)),
      element_(as == As::halves ? 2 : 4),
      channels_(s.in_channels / s.groups),
      in_place_((kElemSize[e_] == element_ && slack == 0) || p.taps.empty()) {
  if (p.taps.empty()) return;
  for (size_t i = 0; i < 3; ++i) {
    int64_t low = p.taps[0].offset[i], high = low;
    for (const Tap& tap : p.taps) low = std::min(low, tap.offset[i]), high = std::max(high, tap.offset[i]);
    low_[i] = low, reach_[i] = high - low;
    in_place_ &= low >= 0 && (p.size[i] - 1) * p.step[i] + high < s.in[i];
  }
  if (in_place_) {
    pixel_ = s.in_channels;
    row_ = s.in[2] * pixel_;
    plane_ = s.in[1] * row_;
    image_ = s.in[0] * plane_;
    return;
  }
  pixel_ = channels_;
  const Box box = boxes.largest();
  row_ = ((box.width - 1) * p.step[2] + reach_[2] + 1) * pixel_;
  plane_ = ((box.lines - 1) * p.step[1] + reach_[1] + 1) * row_;
  image_ = ((box.planes - 1) * p.step[0] + reach_[0] + 1) * plane_;
  elements_ = box.images * image_ + slack;
}

int64_t PatchSpace::offset(const Tap& tap) const {
  const Dims& o = tap.offset;
  if (in_place_) return o[0] * plane_ + o[1] * row_ + o[2] * pixel_;
  return (o[0] - low_[0]) * plane_ + (o[1] - low_[1]) * row_ + (o[2] - low_[2]) * pixel_;
}

std::vector<DirectRun> PatchSpace::runs() const {
  std::vector<DirectRun> out;
  int64_t k = 0;
  for (const Tap& tap : p_.taps) {
    const int64_t a = offset(tap);
    if (!out.empty() && out.back().a + out.back().steps == a) {
      out.back().steps += channels_;
    } else {
      out.push_back({a, k, channels_});
    }
    k += channels_;
  }
  return out;
}

const void* PatchSpace::fill(const Box& box, int64_t group, void* space) const {
  const int64_t size = kElemSize[e_];
  if (in_place_)
    return input_ + (group * channels_ + box.n * image_ + box.z * p_.step[0] * plane_ +
                     box.y * p_.step[1] * row_ + box.x * step()) *
                        element_;
  // Columns [begin, end) of the buffer lie inside the input.
  const int64_t width = (box.width - 1) * p_.step[2] + reach_[2] + 1, x0 = box.x * p_.step[2] + low_[2];
  const int64_t begin = std::clamp<int64_t>(-x0, 0, width);
  const int64_t end = std::clamp<int64_t>(s_.in[2] - x0, begin, width);
  const int64_t planes = (box.planes - 1) * p_.step[0] + reach_[0] + 1;
  const int64_t rows = (box.lines - 1) * p_.step[1] + reach_[1] + 1;
  for (int64_t n = 0; n < box.images; ++n)
    for (int64_t z = 0; z < planes; ++z)
      for (int64_t y = 0; y < rows; ++y) {
        char* to = static_cast<char*>(space) + (n * image_ + z * plane_ + y * row_) * element_;
        const int64_t iz = box.z * p_.step[0] + low_[0] + z, iy = box.y * p_.step[1] + low_[1] + y;
        if (iz < 0 || iz >= s_.in[0] || iy < 0 || iy >= s_.in[1] || begin == end) {
          std::memset(to, 0, static_cast<size_t>(width * pixel_ * element_));
          continue;
        }
        const int64_t pixel = (((box.n + n) * s_.in[0] + iz) * s_.in[1] + iy) * s_.in[2] + begin + x0;
        const char* from = input_ + (pixel * s_.in_channels + group * channels_) * size;
        pairs_ ? join_line(from, begin, end, width, to) : copy_line(from, begin, end, width, to);
      }
  return space;
}

void PatchSpace::copy_line(const char* from, int64_t begin, int64_t end, int64_t width, char* to) const {
  const int64_t pixel = pixel_ * element_;
  std::memset(to, 0, static_cast<size_t>(begin * pixel));
  std::memset(to + end * pixel, 0, static_cast<size_t>((width - end) * pixel));
  to += begin * pixel;
  if (element_ == 2 && s_.groups == 1) {
    std::memcpy(to, from, static_cast<size_t>((end - begin) * pixel));
  } else if (element_ == 2) {
    copy_kernels().grid[1](from, s_.in_channels, 1, to, pixel_, 1, end - begin, channels_);
  } else if (s_.groups == 1) {
    t_.copy_run[e_](from, 0, 1, (end - begin) * pixel_, to, 0);
  } else {
    t_.copy_run[e_](from, s_.in_channels, end - begin, channels_, to, pixel_);
  }
}

// Cut where the first or the second of the pairs enters or leaves the input.
void PatchSpace::join_line(const char* from, int64_t begin, int64_t end, int64_t width, char* to) const {
  const int64_t step = p_.step[2], begin2 = std::max<int64_t>(0, begin - step);
  const int64_t end2 = std::max<int64_t>(0, end - step);
  int64_t cuts[] = {0, begin, end, begin2, end2, width};
  std::sort(std::begin(cuts), std::end(cuts));
  for (size_t i = 0; i + 1 < std::size(cuts); ++i) {
    const int64_t x = cuts[i], n = cuts[i + 1] - x;
    if (n == 0) continue;
    const char* at = from + (x - begin) * s_.in_channels * kElemSize[e_];
    const char* first = begin <= x && x < end ? at : nullptr;
    const char* second = begin2 <= x && x < end2 ? at + step * s_.in_channels * kElemSize[e_] : nullptr;
    if (s_.groups == 1) {
      pairs_->join(first, second, 0, 1, n * pixel_, to + x * pixel_ * element_, 0);
    } else {
      pairs_->join(first, second, s_.in_channels, n, channels_, to + x * pixel_ * element_, pixel_);
    }
  }
}

}  // namespace mlx::core::cpu::gemm_detail
