// Reductions of element-wise programs: a kernel computes the elements, takes them in, and writes only those
// that somebody else wants (mlx/graph/program.h). Elements are combined in the order in which the kernels of
// metal/kernels/reduce.metal read them from memory, so both give the same bits.
//
// Bytes moved: each operand and each result that somebody wants once; what is only reduced never is in
// memory.
#include <algorithm>
#include <sstream>

#include "metal/host/layout.h"
#include "metal/host/program_text.h"
#include "metal/host/reduce.h"
#include "mlx/graph/backend.h"
#include "mlx/utils.h"

namespace mlx::core::metal {
namespace {

constexpr size_t kMostBuffers = 31;  // of a kernel, as Metal has it

// One reduction, for the text of a kernel.
struct Sum {
  size_t result;  // of the program
  int kind;
  bool divides;
  std::string accumulator, out;  // types
};
struct Spec {
  const ProgramText& text;
  std::vector<bool> scalars;  // inputs of one element
  std::vector<bool> written;  // results that go to memory
  std::vector<Sum> sums;
};

std::string key_of(const Spec& spec) {
  std::ostringstream key;
  key << "fold_" << spec.text.key << '|';
  for (const bool scalar : spec.scalars) key << scalar;
  key << '|';
  for (const bool written : spec.written) key << written;
  for (const Sum& sum : spec.sums)
    key << '|' << sum.result << ',' << sum.kind << ',' << sum.divides << ',' << sum.accumulator << ','
        << sum.out;
  return key.str();
}

// Joins what `text` gives for 0, 1, ... n - 1.
template <class F>
std::string each(size_t n, const char* between, F&& text) {
  std::ostringstream os;
  for (size_t i = 0; i < n; ++i) os << (i > 0 ? between : "") << text(std::to_string(i), i);
  return os.str();
}

std::string source_text(const Spec& spec) {
  const Code& code = spec.text.code;
  const size_t n = code.inputs.size(), kept = code.kept.size(), count = spec.sums.size();
  const auto type_of_result = [&](size_t k) {
    return std::string(type_name(k < kept ? code.kept[k] : code.output));
  };
  const auto value = [&](size_t k) { return k < kept ? "k" + std::to_string(k) : "y"; };
  const auto all = [&](const char* between, auto&& text) { return each(count, between, text); };
  const auto kind = [&](size_t i) { return std::to_string(spec.sums[i].kind); };
  std::ostringstream os;
  os << "#include \"metal/kernels/fold.h\"\nnamespace vmath {\n";
  for (const uint8_t op : spec.text.ops) os << row_function(op);
  os << "}  // namespace vmath\n" << compute_function(code);

  // What each thread has of every reduction.
  os << "struct Sums {\n"
     << all("", [&](const auto& i, size_t at) { return "  " + spec.sums[at].accumulator + " a" + i + ";\n"; })
     << "};\nMETAL_FUNC Sums start() {\n  return {"
     << all(", ", [&](const auto&,
                      size_t at) { return "start_of<" + spec.sums[at].accumulator + ">(" + kind(at) + ")"; })
     << "};\n}\nMETAL_FUNC Sums joined(Sums a, Sums b) {\n  return {"
     << all(", ",
            [&](const auto& i, size_t at) { return "combine(" + kind(at) + ", a.a" + i + ", b.a" + i + ")"; })
     << "};\n}\nMETAL_FUNC Sums of_lanes(Sums a) {\n  return {"
     << all(", ", [&](const auto& i, size_t at) { return "simd_combine(" + kind(at) + ", a.a" + i + ")"; })
     << "};\n}\n";

  // The buffers, once as parameters of a kernel and once as a value.
  std::ostringstream members, parameters, names;
  size_t buffer = 0;
  const auto add = [&](const std::string& type, const std::string& name) {
    members << "  " << type << "* " << name << ";\n";
    parameters << type << "* " << name << " [[buffer(" << buffer << ")]], ";
    names << (buffer > 0 ? ", " : "") << name;
    ++buffer;
  };
  for (size_t i = 0; i < n; ++i)
    add(std::string("device const ") + type_name(code.inputs[i]), "in" + std::to_string(i));
  for (size_t k = 0; k <= kept; ++k)
    if (spec.written[k]) add("device " + type_of_result(k), "w" + std::to_string(k));
  for (size_t i = 0; i < count; ++i) add("device " + spec.sums[i].out, "r" + std::to_string(i));
  parameters << "constant Fold& p [[buffer(" << buffer << ")]], constant uint* shape [[buffer(" << buffer + 1
             << ")]],\n    constant long* strides [[buffer(" << buffer + 2 << ")]], ";
  os << "struct Buffers {\n" << members.str() << "};\n";

  // Elements first, first + step, ... of a row, 64 of them by themselves, as in metal/kernels/reduce.metal.
  os << "METAL_FUNC Sums part_of_row(Buffers b, constant Fold& p, constant uint* shape, constant long* "
        "strides,\n"
        "                            uint row, uint first, uint step) {\n"
     << "  const uint pitch = p.kept + p.reduced;\n  Places<" << n + 1 << "> base;\n"
     << "  for (int k = 0; k < " << n + 1 << "; ++k) base.at[k] = strides[" << n + 1 << " * pitch + k];\n"
     << "  base.move(row, p.kept, shape, strides, pitch);\n"
     << "  const ulong begin = p.total == 0 ? 0 : row * p.n, n = p.total == 0 ? p.n : min(p.n, p.total - "
        "begin);\n";
  for (size_t i = 0; i < n; ++i)
    if (spec.scalars[i])
      os << "  const " << type_name(code.inputs[i]) << " x" << i << " = b.in" << i << "[base.at[" << i
         << "]];\n";
  os << "  Sums a = start();\n  for (ulong i = first; i < n;) {\n"
        "    const ulong end = min(n, i + 64 * static_cast<ulong>(step));\n    Sums some = start();\n"
        "    for (; i < end; i += step) {\n"
     << "      Places<" << n + 1 << "> at = base;\n"
     << "      at.move(begin + i, p.reduced, shape + p.kept, strides + p.kept, pitch);\n";
  for (size_t i = 0; i < n; ++i)
    if (!spec.scalars[i])
      os << "      const " << type_name(code.inputs[i]) << " x" << i << " = b.in" << i << "[at.at[" << i
         << "]];\n";
  for (size_t k = 0; k < kept; ++k) os << "      " << type_of_result(k) << " k" << k << ";\n";
  os << "      const " << type_of_result(kept) << " y = compute_" << code.name << "("
     << each(n, ", ", [](const auto& i, size_t) { return "x" + i; }) << (n > 0 && kept > 0 ? ", " : "")
     << each(kept, ", ", [](const auto& k, size_t) { return "k" + k; }) << ");\n";
  for (size_t k = 0; k <= kept; ++k)
    if (spec.written[k]) os << "      b.w" << k << "[at.at[" << n << "]] = " << value(k) << ";\n";
  os << "      some = joined(some, {" << all(", ", [&](const auto&, size_t at) {
    const Sum& sum = spec.sums[at];
    return "taken_in<" + sum.accumulator + ">(" + kind(at) + ", " + value(sum.result) + ")";
  }) << "});\n    }\n    a = joined(a, some);\n  }\n  return a;\n}\n";

  os << "METAL_FUNC void leave(Buffers b, uint row, Sums a, constant Fold& p) {\n"
     << all("",
            [&](const auto& i, size_t at) {
              const Sum& sum = spec.sums[at];
              const std::string a = "a.a" + i;
              return "  b.r" + i + "[row] = cast_to<" + sum.out + ">(" +
                     (sum.divides ? "divided(" + a + ", static_cast<float>(p.n))" : a) + ");\n";
            })
     << "}\n";

  const std::string part = "part_of_row(b, p, shape, strides, ";
  const std::string buffers = "  const Buffers b = {" + names.str() + "};\n";
  os << "kernel void short_rows_fold(" << parameters.str()
     << "uint2 group [[threadgroup_position_in_grid]],\n    uint simd [[simdgroup_index_in_threadgroup]], "
        "uint simds "
        "[[simdgroups_per_threadgroup]],\n    uint lane [[thread_index_in_simdgroup]]) {\n"
        "  const uint row = group.x * simds + simd;\n  if (row >= p.results) return;\n"
     << buffers << "  const Sums a = of_lanes(" << part
     << "row, lane, 32));\n  if (lane == 0) leave(b, row, a, p);\n}\n";
  os << "kernel void long_rows_fold(" << parameters.str()
     << "uint row [[threadgroup_position_in_grid]],\n    uint thread_index [[thread_index_in_threadgroup]], "
        "uint threads "
        "[[threads_per_threadgroup]],\n    uint simd [[simdgroup_index_in_threadgroup]], uint simds "
        "[[simdgroups_per_threadgroup]],\n    uint lane [[thread_index_in_simdgroup]]) {\n"
     << all("",
            [&](const auto& i, size_t at) {
              return "  threadgroup " + spec.sums[at].accumulator + " parts" + i + "[32];\n";
            })
     << buffers << "  const Sums part = " << part << "row, thread_index, threads);\n  const Sums a = {"
     << all(", ",
            [&](const auto& i, size_t at) {
              return "group_combine(" + kind(at) + ", part.a" + i + ", parts" + i + ", lane, simd, simds)";
            })
     << "};\n  if (thread_index == 0) leave(b, row, a, p);\n}\n";
  os << "kernel void columns_fold(" << parameters.str()
     << "uint2 group [[threadgroup_position_in_grid]],\n    uint2 at [[thread_position_in_threadgroup]], "
        "uint2 size "
        "[[threads_per_threadgroup]]) {\n  threadgroup Sums parts[32 * 8];\n"
     << buffers
     << "  const uint column = group.x * 32 + at.x;\n  Sums a = start();\n  if (column < p.results) a = "
     << part
     << "column, at.y, size.y);\n"
        "  parts[at.y * 32 + at.x] = a;\n  threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "  if (at.y != 0 || column >= p.results) return;\n"
        "  for (uint y = 1; y < size.y; ++y) a = joined(a, parts[y * 32 + at.x]);\n  leave(b, column, a, "
        "p);\n}\n";
  return os.str();
}

// As struct Fold of metal/kernels/fold.h.
struct Parameters {
  uint64_t n, total;
  uint32_t kept, reduced, results;
};

// The kept or the reduced axes, for all inputs and for what is written, which lies in order.
struct Operands {
  std::vector<Strides> strides;
  explicit Operands(const std::vector<const array*>& inputs, const Shape& shape) {
    for (const array* in : inputs) strides.push_back(broadcast_strides(*in, shape));
    strides.push_back(row_major_strides(shape));
  }
  Layout along(const Shape& shape, const Axes& axes, bool reduced) const {
    Shape sizes;
    std::vector<Strides> of(strides.size());
    for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
      if (std::binary_search(axes.begin(), axes.end(), d) != reduced) continue;
      sizes.push_back(shape[static_cast<size_t>(d)]);
      for (size_t k = 0; k < of.size(); ++k) of[k].push_back(strides[k][static_cast<size_t>(d)]);
    }
    return collapsed(sizes, of);
  }
};

void run_kernel(const Spec& spec, const std::vector<const array*>& inputs, const std::vector<array>& results,
                const Axes& axes, const Arrays& outs, bool in_parts, const Stream& s) {
  const Shape& shape = results[0].shape();
  const Operands operands(inputs, shape);
  Layout kept = operands.along(shape, axes, false), reduced = operands.along(shape, axes, true);
  const auto nearest = [](const Layout& l) {
    return l.shape.empty() ? INT64_MAX : std::abs(l.strides.back().back());
  };
  const auto count = static_cast<uint32_t>(outs[0].size());
  const uint64_t n = in_parts ? kPart : results[0].size() / count;
  const RowForm form = row_form(count, n, nearest(kept), nearest(reduced));
  std::vector<uint32_t> sizes(kept.shape.begin(), kept.shape.end());
  sizes.insert(sizes.end(), reduced.shape.begin(), reduced.shape.end());
  std::vector<int64_t> strides;
  for (size_t k = 0; k < kept.strides.size(); ++k) {
    strides.insert(strides.end(), kept.strides[k].begin(), kept.strides[k].end());
    strides.insert(strides.end(), reduced.strides[k].begin(), reduced.strides[k].end());
  }
  for (const array* in : inputs) strides.push_back(extent_of(*in).first);
  strides.push_back(0);
  if (sizes.empty()) sizes.push_back(1);
  Dispatch d(
      s, pipeline_of(key_of(spec), std::string(form.name) + "fold", {}, [&] { return source_text(spec); }));
  for (const array* in : inputs) d.in(*in);
  for (size_t k = 0; k < results.size(); ++k)
    if (spec.written[k]) d.out(results[k]);
  for (const array& out : outs) d.out(out);
  d.value(Parameters{n, in_parts ? results[0].size() : 0, static_cast<uint32_t>(kept.shape.size()),
                     static_cast<uint32_t>(reduced.shape.size()), count});
  d.values(sizes).values(strides);
  d.groups(form.groups, form.per_group);
}

// What the kernels cannot do: the program by itself, then the reductions.
void in_two_steps(const Program& program, const std::vector<const array*>& inputs,
                  std::vector<array>& results, const Donors& donors, const std::vector<Fold>& folds) {
  run_program_of(core::Device::gpu)(program, inputs, results, donors);
  for (const Fold& fold : folds) {
    Arrays out{*fold.out};
    gpu_backend()->run(*fold.primitive, {results[fold.result]}, out);
  }
}

bool accepts(const Primitive& primitive, const Shape& shape) {
  const auto* reduce = dynamic_cast<const Reduce*>(&primitive);
  if (!reduce) return false;
  uint64_t n = 1, results = 1;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d)
    (std::binary_search(reduce->axes.begin(), reduce->axes.end(), d) ? n : results) *=
        static_cast<uint64_t>(shape[static_cast<size_t>(d)]);
  // A few long rows would leave most of the device idle while their elements are computed.
  return results == 1 || results >= 32 || n <= 4096;
}
bool together(const Primitive& a, const Primitive& b) {
  return static_cast<const Reduce&>(a).axes == static_cast<const Reduce&>(b).axes;
}

void run_folded(const Program& program, const std::vector<const array*>& inputs, std::vector<array>& results,
                const SmallVector<char, 4>& is_output, const Donors& donors, const std::vector<Fold>& folds) {
  const size_t size = results[0].size();
  const bool known = step_without_kernel(program).empty() && size < (size_t{1} << 40) &&
                     inputs.size() + results.size() + folds.size() + 3 <= kMostBuffers &&
                     folds[0].out->size() < (size_t{1} << 31);
  if (!known) return in_two_steps(program, inputs, results, donors, folds);
  const auto& first = static_cast<const Reduce&>(*folds[0].primitive);
  const Stream s = first.stream();
  std::string names = names_of(program);
  for (const Fold& fold : folds) names += std::string("+") + fold.primitive->name();
  Encoder::current().set_operation(names);

  const ProgramText text = [&] {
    std::vector<Dtype> dtypes;
    for (const array* in : inputs) dtypes.push_back(in->dtype());
    return text_of(program, dtypes);
  }();
  Spec spec{text, {}, {}, {}};
  for (const array* in : inputs) spec.scalars.push_back(in->size() == 1);
  for (size_t k = 0; k < results.size(); ++k) {
    spec.written.push_back(is_output[k] != 0);
    if (!is_output[k]) continue;
    const array* donor = donors[k] < 0 ? nullptr : inputs[static_cast<size_t>(donors[k])];
    if (donor && on_device(*donor)) {
      results[k].copy_shared_buffer(*donor);
    } else {
      allocate(results[k]);
    }
  }
  const bool in_parts = folds[0].out->size() == 1 && size >= kTwoPasses;
  const auto parts = static_cast<ShapeElem>((size + kPart - 1) / kPart);
  Arrays outs;
  for (const Fold& fold : folds) {
    const Reduction kind = static_cast<const Reduce&>(*fold.primitive).kind;
    const Dtype of = results[fold.result].dtype(), to = fold.out->dtype();
    const Dtype sums = adds_floats(of, to) ? float32 : accumulator_of(of);
    allocate(*fold.out);
    outs.push_back(in_parts ? array({parts}, sums, nullptr, {}) : *fold.out);
    if (in_parts) allocate(outs.back());
    spec.sums.push_back({fold.result, kind_of(kind), kind == Reduction::mean && !in_parts, type_name(sums),
                         type_name(in_parts ? sums : to)});
  }
  run_kernel(spec, inputs, results, first.axes, outs, in_parts, s);
  if (!in_parts) return;
  for (size_t i = 0; i < folds.size(); ++i) {
    const Reduction kind = static_cast<const Reduce&>(*folds[i].primitive).kind;
    reduce_parts(outs[i], *folds[i].out, kind, kind == Reduction::mean ? static_cast<float>(size) : 0, s);
  }
}

const bool registered = (set_fold_rules(core::Device::gpu, {accepts, together, run_folded}), true);

}  // namespace
}  // namespace mlx::core::metal
