#include "mlx/ops/scan.h"

#include <algorithm>

#include "metal/host/kernels.h"

namespace mlx::core::metal {
namespace {

// As struct Scan of metal/kernels/scan.metal.
struct Parameters {
  uint32_t n, inner, lines;
};

void scan(const Scan& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, inputs);
  const array in = row_contiguous(inputs[0], p.stream());
  Parameters line{static_cast<uint32_t>(in.shape(p.axis)), 1, 0};
  for (int d = p.axis + 1; d < static_cast<int>(in.ndim()); ++d)
    line.inner *= static_cast<uint32_t>(in.shape(d));
  line.lines = static_cast<uint32_t>(in.size() / line.n);
  // The first four kinds are numbered as in metal/kernels/reduce.h.
  const std::vector<FunctionConstant> constants = {
      {0, static_cast<int32_t>(p.kind)}, {1, p.reverse}, {2, p.inclusive}};
  Dispatch d(p.stream(), typed_pipeline("scan", in.dtype(), line.inner == 1 ? "rows" : "columns", constants));
  d.in(in).out(out).value(line);
  if (line.inner == 1) {
    d.groups({ceil_div(line.lines, 4), 1, 1}, {128, 1, 1});
  } else {
    d.threads({line.lines, 1, 1}, {std::min<uint32_t>(line.lines, 256), 1, 1});
  }
}
bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && static_cast<const Scan&>(p).kind != Accumulation::logaddexp &&
         inputs[0].size() > 0 && inputs[0].size() < (size_t{1} << 31) &&
         inputs[0].dtype() == outputs[0].dtype();
}

const bool registered = add_kernel<Scan>(scan, supports);

}  // namespace
}  // namespace mlx::core::metal
