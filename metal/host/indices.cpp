#include "metal/host/indices.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "metal/host/layout.h"
#include "mlx/ops/rules.h"

namespace mlx::core::metal {
namespace {

// In row-major order; along the innermost axis without divisions.
template <class F>
void for_each_element(const array& a, F&& f) {
  if (a.size() == 0) return;
  const Layout l = collapsed(a.shape(), {a.strides()});
  const size_t outer = l.shape.empty() ? 0 : l.shape.size() - 1;
  const int64_t n = l.shape.empty() ? 1 : l.shape.back(), step = l.shape.empty() ? 0 : l.strides[0].back();
  dispatch_all(a.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      for (size_t first = 0; first < a.size(); first += static_cast<size_t>(n)) {
        int64_t offset = 0, rest = static_cast<int64_t>(first) / n;
        for (size_t d = outer; d-- > 0;) {
          offset += rest % l.shape[d] * l.strides[0][d];
          rest /= l.shape[d];
        }
        const T* row = a.data<T>() + offset;
        for (int64_t i = 0; i < n; ++i) f(row[i * step], first + static_cast<size_t>(i));
      }
    }
  });
}

// As struct Offsets and struct Along of metal/kernels/offsets.metal.
struct Offsets {
  int64_t first, stride;
  uint32_t dims, limit, wrap;
};
struct Along {
  int64_t first;
  uint32_t dims, n, inner, limit;
};
struct Inside {
  int64_t first, limit, wrap;
  uint32_t dims;
};

// As text: the element with this number in row-major order.
std::string element(const array& a, size_t number) {
  int64_t offset = 0;
  auto rest = static_cast<int64_t>(number);
  for (size_t d = a.ndim(); d-- > 0; rest /= a.shape()[d]) offset += rest % a.shape()[d] * a.strides()[d];
  std::string out;
  dispatch_all(a.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) out = std::to_string(a.data<T>()[offset]);
  });
  return out;
}

}  // namespace

void check_later(const array& indices, int64_t limit, int64_t wrap, IndexFault error, const Stream& s) {
  if (indices.size() == 0) return;
  const auto kernel = typed_pipeline("offsets", indices.dtype(), "inside", {{0, false}});
  array kept(indices.shape(), indices.dtype(), nullptr, {});  // for the message
  kept.copy_shared_buffer(indices);
  const array word = Encoder::current().watch(
      s, [kept, error = std::move(error)](uint32_t number) { return error(element(kept, number), number); });
  const Walk walk = walk_of(indices.shape(), {indices.strides()});
  Dispatch d(s, kernel);
  d.in(indices).out(word);
  // Those without a sign that seem to be below 0 are too large.
  d.value(Inside{extent_of(indices).first, limit, issubdtype(indices.dtype(), unsignedinteger) ? 0 : wrap,
                 walk.dims()});
  d.values(walk.shape).values(walk.strides);
  const Line l = line(indices.size());
  d.threads(l.threads, l.per_group);
}

bool check_indices(std::string_view op, const array& indices, int axis, int64_t limit, const Stream& s) {
  const auto error = [op = std::string(op), axis, limit](const std::string& index) {
    return std::out_of_range(
        text("[", op, "] index ", index, " is out of range for axis ", axis, " with size ", limit));
  };
  if (limit > 0 && used_by_gpu({indices})) {
    const auto later = [error](const std::string& index, size_t) {
      return std::make_exception_ptr(error(index));
    };
    check_later(indices, limit, limit, later, s);
    return indices.size() < 2;
  }
  Encoder::current().finish_for({indices});
  bool ascending = true;
  int64_t before = 0;
  for_each_element(indices, [&](auto value, size_t) {
    const auto i = static_cast<int64_t>(value);
    const bool inside = std::is_signed_v<decltype(value)>
                            ? i >= -limit && i < limit
                            : static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
    if (!inside) throw error(std::to_string(value));
    const int64_t place = i < 0 ? i + limit : i;
    ascending = ascending && place >= before;
    before = place;
  });
  return ascending;
}

void for_each_index(const array& indices, const std::function<void(int64_t, size_t)>& f) {
  for_each_element(indices, [&](auto value, size_t i) { f(static_cast<int64_t>(value), i); });
}

bool in_32_bits(const array& a) {
  uint64_t reach = 1;
  for (size_t i = 0; i < a.ndim(); ++i)
    reach += static_cast<uint64_t>(std::abs(a.strides()[i])) *
             static_cast<uint64_t>(std::max<int64_t>(a.shape()[i] - 1, 0));
  return a.size() < (size_t{1} << 31) && reach < (uint64_t{1} << 31);
}

Walk walk_of(const Shape& shape, const std::vector<Strides>& strides) {
  const Layout l = collapsed(shape, strides);
  Walk walk{{l.shape.begin(), l.shape.end()}, {}};
  if (walk.shape.empty()) walk.shape.push_back(1), walk.strides.resize(strides.size(), 0);
  for (const Strides& of : l.strides) walk.strides.insert(walk.strides.end(), of.begin(), of.end());
  return walk;
}

Dtype bits_of(Dtype dtype) {
  constexpr Dtype by_size[] = {uint8, uint16, uint32, uint64};
  return by_size[std::countr_zero(static_cast<unsigned>(dtype.size()))];
}

std::vector<int64_t> starts_of_boxes(const Shape& shape, const std::vector<int>& axes, const Shape& box) {
  std::vector<int64_t> limits;
  for (const int axis : axes)
    limits.push_back(shape[static_cast<size_t>(axis)] - box[static_cast<size_t>(axis)] + 1);
  return limits;
}

array offsets_of(const array& target, const Arrays& indices, const std::vector<int>& axes,
                 const std::vector<int64_t>& limits, const std::vector<int64_t>& wraps, const Shape& lead,
                 const Stream& s) {
  array out(lead, int32, nullptr, {});
  allocate(out);
  if (out.size() == 0) return out;
  if (indices.empty()) copy_to(array(0, int32), out, s);
  for (size_t i = 0; i < indices.size(); ++i) {
    const array& index = indices[i];
    const Walk walk = walk_of(index.shape(), {index.strides()});
    Dispatch d(s, typed_pipeline("offsets", index.dtype(), "offsets", {{0, i > 0}}));
    d.in(index);
    i > 0 ? d.in_out(out) : d.out(out);
    d.value(Offsets{extent_of(index).first, target.strides(axes[i]), walk.dims(),
                    static_cast<uint32_t>(limits[i]),
                    static_cast<uint32_t>(wraps.empty() ? limits[i] : wraps[i])});
    d.values(walk.shape).values(walk.strides);
    const Line l = line(out.size());
    d.threads(l.threads, l.per_group);
  }
  return out;
}

array offsets_along(const array& indices, int axis, int64_t limit, const Stream& s) {
  array out(indices.shape(), int32, nullptr, {});
  allocate(out);
  const Walk walk = walk_of(indices.shape(), {indices.strides()});
  uint32_t inner = 1;
  for (int d = axis + 1; d < static_cast<int>(indices.ndim()); ++d)
    inner *= static_cast<uint32_t>(indices.shape(d));
  Dispatch d(s, typed_pipeline("offsets", indices.dtype(), "along_axis", {{0, false}}));
  d.in(indices).out(out);
  d.value(Along{extent_of(indices).first, walk.dims(), static_cast<uint32_t>(indices.shape(axis)), inner,
                static_cast<uint32_t>(limit)});
  d.values(walk.shape).values(walk.strides);
  const Line l = line(out.size());
  d.threads(l.threads, l.per_group);
  return out;
}

Ranks ranks_of(const array& mask, const Stream& s) {
  constexpr uint32_t kBlock = 1024, kThreads = 256;  // as in metal/kernels/compact.metal
  const uint32_t blocks = ceil_div(mask.size(), kBlock);
  const uint64_t n = mask.size();
  Ranks r{array(mask.shape(), uint32, nullptr, {}),
          array({static_cast<ShapeElem>(blocks + 1)}, uint32, nullptr, {}), blocks};
  allocate(r.ranks);
  allocate(r.before);
  Dispatch(s, pipeline("compact", "counts"))
      .in(mask)
      .out(r.before)
      .value(n)
      .groups({blocks, 1, 1}, {kThreads, 1, 1});
  Dispatch(s, pipeline("compact", "starts"))
      .in_out(r.before)
      .value(blocks)
      .groups({1, 1, 1}, {kThreads, 1, 1});
  Dispatch(s, pipeline("compact", "ranks"))
      .in(mask)
      .in(r.before)
      .out(r.ranks)
      .value(n)
      .groups({blocks, 1, 1}, {kThreads, 1, 1});
  return r;
}

Plane plane(size_t x, size_t y) {
  const auto wide = static_cast<uint32_t>(x), high = static_cast<uint32_t>(y);
  const uint32_t gx = std::clamp<uint32_t>(wide, 1, 256);
  return {{wide, high, 1}, {gx, std::clamp<uint32_t>(high, 1, 256 / gx), 1}};
}

}  // namespace mlx::core::metal
