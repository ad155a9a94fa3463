// Reductions: dims are sorted into kept and reduced ones and merged; how they lie decides between the kernels
// of metal/kernels/reduce.metal.
#include "metal/host/reduce.h"

#include <algorithm>
#include <limits>

#include "metal/host/elementwise.h"

namespace mlx::core::metal {

int kind_of(Reduction kind) {
  switch (kind) {
    case Reduction::prod:
      return 1;
    case Reduction::max:
      return 2;
    case Reduction::min:
      return 3;
    case Reduction::any:
      return 4;
    case Reduction::all:
      return 5;
    default:
      return 0;
  }
}

namespace {

// As struct Reduction of metal/kernels/reduce.metal.
struct Parameters {
  uint64_t n, total;
  int64_t first;
  uint32_t kept, reduced, results;
  float divisor;
};

}  // namespace

Dtype accumulator_of(Dtype dtype) {
  switch (dtype.val()) {
    case Dtype::Val::bool_:
    case Dtype::Val::int8:
    case Dtype::Val::int16:
    case Dtype::Val::int32:
      return int32;
    case Dtype::Val::uint8:
    case Dtype::Val::uint16:
    case Dtype::Val::uint32:
      return uint32;
    case Dtype::Val::int64:
    case Dtype::Val::uint64:
    case Dtype::Val::complex64:
      return dtype;
    default:
      return float32;
  }
}

bool adds_floats(Dtype in, Dtype out) { return out == float32 && !issubdtype(in, inexact); }

RowForm row_form(uint32_t results, uint64_t n, int64_t kept, int64_t reduced) {
  if (results >= 8 && kept < reduced)
    return {"columns_",
            {ceil_div(results, 32), 1, 1},
            {32, static_cast<uint32_t>(std::clamp<uint64_t>(n / 4, 1, 8)), 1}};
  if (n >= 1024)
    return {"long_rows_",
            {results, 1, 1},
            {static_cast<uint32_t>(std::min<uint64_t>(1024, (n / 8 + 31) / 32 * 32)), 1, 1}};
  return {"short_rows_", {ceil_div(results, 4), 1, 1}, {128, 1, 1}};
}

namespace {

// `other`: the type of results that are neither of the elements' type nor of their sums'; null: there are
// none.
std::shared_ptr<Pipeline> kernel_for(Dtype dtype, const std::string& name, int kind, bool floats = false,
                                     const char* other = nullptr) {
  const std::string type = type_name(dtype);
  std::string definitions = "#include \"metal/kernels/types.h\"\ntypedef " + type + " T;\n";
  if (accumulator_of(dtype) != dtype && dtype != bool_) definitions += "#define OTHER_RESULT\n";
  if (floats) definitions += "#define ADDS_FLOATS\n";
  std::string library = dtype_name(dtype);
  if (floats) library += "_as_float";
  if (other) {
    definitions += std::string("#define RESULT ") + other + "\n";
    library += std::string("_to_") + other;
  }
  return pipeline_for("reduce", library, definitions, name, {{0, int32_t{kind}}});
}
std::string result_name(Dtype in, Dtype out) {
  if (out == bool_) return "bool";
  if (out == accumulator_of(in) || adds_floats(in, out)) return "acc";
  return out == in ? "same" : "other";  // of a second pass, whose elements are the sums of the first
}

struct Dims {
  Layout kept, reduced;
};
Dims dims_of(const array& a, const Axes& axes) {
  Shape shape[2];
  Strides strides[2];
  for (int d = 0; d < static_cast<int>(a.ndim()); ++d) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), d);
    shape[reduced].push_back(a.shape(d));
    strides[reduced].push_back(a.strides(d));
  }
  return {collapsed(shape[0], {strides[0]}), collapsed(shape[1], {strides[1]})};
}

// Rows of `n` elements (of all together `total`, where the last row is shorter; else 0).
struct Rows {
  Layout kept, reduced;
  uint64_t n, total = 0;
};
// The same forms of kernels for all that is one result per row.
template <class KernelOf>
void run(const array& in, const Arrays& outs, uint32_t results, const Rows& rows, float divisor,
         const Stream& s, KernelOf&& kernel_of) {
  const Layout &kept = rows.kept, &reduced = rows.reduced;
  const uint64_t n = rows.n;
  std::vector<uint32_t> shape(kept.shape.begin(), kept.shape.end());
  shape.insert(shape.end(), reduced.shape.begin(), reduced.shape.end());
  std::vector<int64_t> strides(kept.strides[0].begin(), kept.strides[0].end());
  strides.insert(strides.end(), reduced.strides[0].begin(), reduced.strides[0].end());
  if (shape.empty()) shape.push_back(1), strides.push_back(0);
  const Parameters p{n,
                     rows.total,
                     extent_of(in).first,
                     static_cast<uint32_t>(kept.shape.size()),
                     static_cast<uint32_t>(reduced.shape.size()),
                     results,
                     divisor};
  const auto nearest = [](const Layout& l) {
    return l.shape.empty() ? INT64_MAX : std::abs(l.strides[0].back());
  };
  const RowForm form = row_form(results, n, nearest(kept), nearest(reduced));
  Dispatch d(s, kernel_of(form.name));
  d.in(in);
  for (const array& out : outs) d.out(out);
  d.value(p).values(shape).values(strides);
  d.groups(form.groups, form.per_group);
}

bool in_two_passes(const array& in, const array& out) {
  return out.size() == 1 && in.size() >= kTwoPasses && in.flags().contiguous;
}
// The parts of the first pass, and what is one row of so many results for the second.
Rows parts_of(const array& in) {
  const auto parts = static_cast<int64_t>((in.size() + kPart - 1) / kPart),
             part = static_cast<int64_t>(kPart);
  return {{{parts}, {{part}}}, {{part}, {{1}}}, kPart, in.size()};
}
Rows row_of(int64_t n) { return {{{}, {{}}}, {{n}, {{1}}}, static_cast<uint64_t>(n)}; }

void pass(const array& from, const array& to, const Rows& rows, Reduction kind, float divisor,
          const Stream& s) {
  const std::string result = result_name(from.dtype(), to.dtype());
  run(from, {to}, static_cast<uint32_t>(to.size()), rows, divisor, s, [&](const std::string& form) {
    return kernel_for(from.dtype(), form + result, kind_of(kind), adds_floats(from.dtype(), to.dtype()),
                      result == "other" ? type_name(to.dtype()) : nullptr);
  });
}

void reduce(const Reduce& p, const Arrays& inputs, Arrays& outputs) {
  const array& in = inputs[0];
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  if (in.size() == 0) {
    const bool one = p.kind == Reduction::prod || p.kind == Reduction::all;
    const float of_nothing = p.kind == Reduction::mean ? std::numeric_limits<float>::quiet_NaN()
                             : one                     ? 1.0f
                                                       : 0.0f;
    return fill(array(of_nothing, out.dtype()), out, p.stream());
  }
  const uint64_t n = in.size() / out.size();
  const float divisor = p.kind == Reduction::mean ? static_cast<float>(n) : 0;
  if (in_two_passes(in, out)) {
    const Rows parts = parts_of(in);
    const Dtype sums = adds_floats(in.dtype(), out.dtype()) ? float32 : accumulator_of(in.dtype());
    array partial({static_cast<ShapeElem>(parts.kept.shape[0])}, sums, nullptr, {});
    allocate(partial);
    pass(in, partial, parts, p.kind, 0, p.stream());
    return reduce_parts(partial, out, p.kind, divisor, p.stream());
  }
  Dims dims = dims_of(in, p.axes);
  pass(in, out, {std::move(dims.kept), std::move(dims.reduced), n}, p.kind, divisor, p.stream());
}

}  // namespace

void reduce_parts(const array& parts, const array& out, Reduction kind, float divisor, const Stream& s) {
  pass(parts, out, row_of(static_cast<int64_t>(parts.size())), kind, divisor, s);
}
void sum_along_first(const array& in, const array& out, const Stream& s) {
  Dims dims = dims_of(in, {0});
  const auto n = static_cast<uint64_t>(in.shape(0));
  pass(in, out, {std::move(dims.kept), std::move(dims.reduced), n}, Reduction::sum, 0, s);
}

namespace {

// Mean and variance from one reading (metal/kernels/moments.metal).
void variance(const Variance& p, const Arrays& inputs, Arrays& outputs) {
  const array& in = inputs[0];
  for (array& out : outputs) allocate(out);
  if (outputs[0].size() == 0) return;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (in.size() == 0) {
    for (const array& out : outputs) fill(array(kNan, out.dtype()), out, p.stream());
    return;
  }
  const uint64_t n = in.size() / outputs[0].size();
  const double freedom = static_cast<double>(n) - p.ddof;
  const float divisor = freedom > 0 ? static_cast<float>(freedom) : kNan;
  const auto pass = [&](const array& from, const Arrays& to, uint32_t results, const Rows& rows, bool joins,
                        bool parts) {
    run(from, to, results, rows, divisor, p.stream(), [&](const std::string& form) {
      return typed_pipeline("moments", in.dtype(), form + "moments", {{0, joins}, {1, parts}});
    });
  };
  if (in_two_passes(in, outputs[0])) {
    const Rows parts = parts_of(in);
    const int64_t count = parts.kept.shape[0];
    array partial({static_cast<ShapeElem>(count), 4}, float32, nullptr, {});
    allocate(partial);
    pass(in, {partial, partial}, static_cast<uint32_t>(count), parts, false, true);
    return pass(partial, outputs, 1, row_of(count), true, false);
  }
  Dims dims = dims_of(in, p.axes);
  pass(in, outputs, static_cast<uint32_t>(outputs[0].size()),
       {std::move(dims.kept), std::move(dims.reduced), n}, false, false);
}
bool variance_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && outputs[0].size() < (size_t{1} << 31);
}

// More results than 32 bits count are the CPU's, and so is what has no extreme.
bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const Reduction kind = static_cast<const Reduce&>(p).kind;
  const bool extreme = kind == Reduction::max || kind == Reduction::min;
  return without_float64(p, inputs, outputs) && outputs[0].size() < (size_t{1} << 31) &&
         (inputs[0].size() > 0 || !extreme);
}

void arg_reduce(const ArgReduce& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const array in = row_contiguous(inputs[0], p.stream());
  const auto n = static_cast<uint32_t>(in.shape(p.axis)), results = static_cast<uint32_t>(out.size());
  uint32_t inner = 1;
  for (int i = p.axis + 1; i < static_cast<int>(in.ndim()); ++i) inner *= static_cast<uint32_t>(in.shape(i));
  Dispatch d(p.stream(),
             kernel_for(in.dtype(), "positions", kind_of(p.max ? Reduction::max : Reduction::min)));
  d.in(in).out(out).value(n).value(inner).value(results);
  d.groups({ceil_div(results, 4), 1, 1}, {128, 1, 1});
}
bool arg_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && inputs[0].size() > 0 &&
         inputs[0].size() < (size_t{1} << 31) && outputs[0].size() > 0;
}

const bool registered = add_kernel<Reduce>(reduce, supports) &&
                        add_kernel<Variance>(variance, variance_supports) &&
                        add_kernel<ArgReduce>(arg_reduce, arg_supports);

}  // namespace
}  // namespace mlx::core::metal
