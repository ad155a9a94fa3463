#include "mlx/ops/scan.h"

#include "mlx/cpu/copy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

struct Line {
  int64_t outer = 1, n = 1, inner = 1;
};
Line line_of(const array& a, int axis) {
  Line line;
  for (int d = 0; d < axis; ++d) line.outer *= a.shape(d);
  line.n = a.shape(axis);
  for (int d = axis + 1; d < static_cast<int>(a.ndim()); ++d) line.inner *= a.shape(d);
  return line;
}

void scan_array(const Scan& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const bool donate = inputs[0].is_donatable() && inputs[0].flags().row_contiguous;
  const array a = row_contiguous(inputs[0]);
  if (donate)
    out.copy_shared_buffer(inputs[0]);
  else
    out.set_data(allocator::malloc(out.nbytes()));
  const Line line = line_of(a, p.axis);
  scan(static_cast<ScanOp>(p.kind), static_cast<int>(a.dtype().val()), a.data<char>(), line.outer, line.n,
       line.inner, {p.reverse, p.inclusive}, out.data<char>());
}
static_assert(static_cast<int>(ScanOp::logaddexp) == static_cast<int>(Accumulation::logaddexp));
static_assert(static_cast<int>(ScanOp::prod) == static_cast<int>(Accumulation::prod));

// The state is wider than a half: many steps, one rounding each.
template <class T>
struct State {
  using type = T;
};
template <>
struct State<float> {
  using type = double;
};
template <>
struct State<float16_t> {
  using type = float;
};
template <>
struct State<bfloat16_t> {
  using type = float;
};

template <class T>
void recur(const T* a, const T* b, const Line& line, bool reverse, T* out) {
  using S = typename State<T>::type;
  constexpr int64_t tile = 64;
  const int64_t tiles = (line.inner + tile - 1) / tile;
  const int64_t work = line.n * std::min(tile, line.inner);
  parallel_ranges(line.outer * tiles, std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(work, 1)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t item = begin; item < end; ++item) {
                      const int64_t first = item % tiles * tile, width = std::min(tile, line.inner - first);
                      S h[tile]{};
                      for (int64_t i = 0; i < line.n; ++i) {
                        const int64_t row = reverse ? line.n - 1 - i : i;
                        const int64_t at = (item / tiles * line.n + row) * line.inner + first;
                        for (int64_t c = 0; c < width; ++c) {
                          h[c] = static_cast<S>(a[at + c]) * h[c] + static_cast<S>(b[at + c]);
                          out[at + c] = static_cast<T>(h[c]);
                        }
                      }
                    }
                  });
}

void linear_recurrence(const LinearRecurrence& p, const Arrays& inputs, Arrays& outputs) {
  const array a = row_contiguous(inputs[0]), b = row_contiguous(inputs[1]);
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const Line line = line_of(a, p.axis);
  const auto run = [&]<class T>() { recur(a.data<T>(), b.data<T>(), line, p.reverse, out.data<T>()); };
  switch (a.dtype().val()) {
    case Dtype::Val::float16:
      return run.template operator()<float16_t>();
    case Dtype::Val::bfloat16:
      return run.template operator()<bfloat16_t>();
    case Dtype::Val::float32:
      return run.template operator()<float>();
    case Dtype::Val::float64:
      return run.template operator()<double>();
    case Dtype::Val::complex64: {
      // complex64_t converts to float as well: the standard type says which product is meant.
      using C = std::complex<float>;
      return recur(reinterpret_cast<const C*>(a.data<char>()), reinterpret_cast<const C*>(b.data<char>()),
                   line, p.reverse, reinterpret_cast<C*>(out.data<char>()));
    }
    default:
      throw std::invalid_argument("[cumprod] gradients need a floating dtype");
  }
}

const bool registered = kernels(Device::cpu).add<Scan>(scan_array) &&
                        kernels(Device::cpu).add<LinearRecurrence>(linear_recurrence);

}  // namespace
}  // namespace mlx::core::cpu
