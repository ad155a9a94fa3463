#include "mlx/ops/scan.h"

#include <algorithm>

#include "metal/host/kernels.h"

namespace mlx::core::metal {
namespace {

// As struct Scan of metal/kernels/scan.metal and struct Recurrence of recurrence.metal.
struct Parameters {
  uint32_t n, inner, lines;
};

Parameters lines_of(const array& in, int axis) {
  Parameters line{static_cast<uint32_t>(in.shape(axis)), 1, 0};
  for (int d = axis + 1; d < static_cast<int>(in.ndim()); ++d)
    line.inner *= static_cast<uint32_t>(in.shape(d));
  line.lines = static_cast<uint32_t>(in.size() / line.n);
  return line;
}

void scan(const Scan& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, inputs);
  if (out.size() == 0) return;
  const array in = row_contiguous(inputs[0], p.stream());
  const Parameters line = lines_of(in, p.axis);
  // The first four kinds are numbered as in metal/kernels/reduce.h.
  const std::vector<FunctionConstant> constants = {
      {0, static_cast<int32_t>(p.kind)}, {1, p.reverse}, {2, p.inclusive}};
  const std::string form = line.inner == 1 ? "rows" : "columns";
  const std::string kernel = p.kind == Accumulation::logaddexp ? "log_" + form : form;
  Dispatch d(p.stream(), typed_pipeline("scan", in.dtype(), kernel, constants));
  d.in(in).out(out).value(line);
  if (line.inner == 1) {
    d.groups({ceil_div(line.lines, 4), 1, 1}, {128, 1, 1});
  } else {
    d.threads({line.lines, 1, 1}, {std::min<uint32_t>(line.lines, 256), 1, 1});
  }
}
bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].size() < (size_t{1} << 31) &&
         inputs[0].dtype() == outputs[0].dtype();
}

void linear_recurrence(const LinearRecurrence& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0], p.stream()), b = row_contiguous(inputs[1], p.stream());
  const Parameters line = lines_of(a, p.axis);
  Dispatch d(p.stream(), typed_pipeline("recurrence", a.dtype(), "recurrence", {{0, p.reverse}}));
  d.in(a).in(b).out(out).value(line);
  d.threads({line.lines, 1, 1}, {std::min<uint32_t>(line.lines, 256), 1, 1});
}
bool recurrence_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && issubdtype(inputs[0].dtype(), inexact) &&
         inputs[0].size() < (size_t{1} << 31);
}

const bool registered =
    add_kernel<Scan>(scan, supports) && add_kernel<LinearRecurrence>(linear_recurrence, recurrence_supports);

}  // namespace
}  // namespace mlx::core::metal
