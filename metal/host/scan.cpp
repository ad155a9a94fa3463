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

// Kinds are numbered as in metal/kernels/reduce.h, but for logaddexp.
constexpr uint32_t kChunk = 1024;  // as in metal/kernels/scan.metal
// Fewer lines than these, as long as that, are cut into chunks.
constexpr uint32_t kFewLines = 256, kLongLine = 8 * kChunk;

void scan_rows(const array& in, const array& out, const Parameters& line, Accumulation kind, bool reverse,
               bool inclusive, const Stream& s) {
  const bool log = kind == Accumulation::logaddexp;
  const bool chunked = !log && line.lines < kFewLines && line.n >= kLongLine;
  const uint32_t chunks = chunked ? ceil_div(line.n, kChunk) : 1, parts = line.lines * chunks;
  const auto kernel = [&](const char* name) {
    return typed_pipeline("scan", in.dtype(), name,
                          {{0, static_cast<int32_t>(kind)}, {1, reverse}, {2, inclusive}, {3, chunked}});
  };
  const Size groups{ceil_div(parts, 4), 1, 1}, per_group{128, 1, 1};
  array before({static_cast<ShapeElem>(chunked ? parts : 0)}, accumulator_of(in.dtype()), nullptr, {});
  allocate(before);
  if (chunked) {
    array totals(before.shape(), before.dtype(), nullptr, {});
    allocate(totals);
    Dispatch(s, kernel("totals")).in(in).out(totals).value(line).groups(groups, per_group);
    scan_rows(totals, before, {chunks, 1, line.lines}, kind, false, false, s);
  }
  Dispatch d(s, kernel(log ? "log_rows" : "rows"));
  d.in(in).out(out).value(line);
  if (chunked) d.in(before);
  d.groups(groups, per_group);
}

void scan(const Scan& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  take_or_allocate(out, inputs);
  if (out.size() == 0) return;
  const array in = row_contiguous(inputs[0], p.stream());
  const Parameters line = lines_of(in, p.axis);
  if (line.inner == 1) return scan_rows(in, out, line, p.kind, p.reverse, p.inclusive, p.stream());
  const std::vector<FunctionConstant> constants = {
      {0, static_cast<int32_t>(p.kind)}, {1, p.reverse}, {2, p.inclusive}, {3, false}};
  const char* kernel = p.kind == Accumulation::logaddexp ? "log_columns" : "columns";
  Dispatch d(p.stream(), typed_pipeline("scan", in.dtype(), kernel, constants));
  d.in(in).out(out).value(line);
  d.threads({line.lines, 1, 1}, {std::min<uint32_t>(line.lines, 256), 1, 1});
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
