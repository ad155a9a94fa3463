#include "metal/host/elementwise.h"

#include <algorithm>
#include <sstream>

#include "metal/host/layout.h"
#include "metal/host/program_text.h"

namespace mlx::core::metal {
namespace {

namespace row = elementwise;
using row::op_info;

// Each thread computes kPerThread elements of a line. Bytes moved: each operand and each output once, the
// least there is; arithmetic intensity is that of the program, below one operation per byte for most.
constexpr int kPerThread = 4;

// Values that are kept beside the output lie as it does.
std::string kernel_text(const Code& code) {
  std::ostringstream os;
  const size_t n = code.inputs.size(), kept = code.kept.size();
  os << compute_function(code) << "kernel void " << code.name << "(";
  for (size_t i = 0; i < n; ++i)
    os << "device const " << type_name(code.inputs[i]) << "* in" << i << " [[buffer(" << i << ")]], ";
  os << "device " << type_name(code.output) << "* out [[buffer(" << n << ")]],\n    ";
  for (size_t k = 0; k < kept; ++k)
    os << "device " << type_name(code.kept[k]) << "* kept" << k << " [[buffer(" << n + 1 + k << ")]], ";
  const size_t next = n + 1 + kept;
  os << "constant Lines& lines [[buffer(" << next << ")]], constant uint* shape [[buffer(" << next + 1
     << "), function_constant(strided)]],\n    constant long* strides [[buffer(" << next + 2
     << "), function_constant(strided)]], uint3 at [[thread_position_in_grid]]) {\n";
  os << "  const Cursor cursor = begin(lines, at);\n";
  for (size_t i = 0; i < n; ++i)
    os << "  const Steps s" << i << " = steps(cursor, lines, shape, strides, " << i << ", " << n + 1
       << ", (scalars >> " << i << ") & 1);\n";
  os << "  const Steps so = steps(cursor, lines, shape, strides, " << n << ", " << n + 1 << ", false);\n";
  // What is one element for all is read once per thread.
  for (size_t i = 0; i < n; ++i)
    os << "  " << type_name(code.inputs[i]) << " x" << i << "{};\n  if ((scalars >> " << i << ") & 1) x" << i
       << " = in" << i << "[0];\n";
  os << "  for (uint j = 0; j < cursor.count; ++j) {\n";
  for (size_t i = 0; i < n; ++i)
    os << "    if (!((scalars >> " << i << ") & 1)) x" << i << " = in" << i << "[s" << i << ".at(j)];\n";
  // Everything is read before anything is written: an output may have an operand's memory.
  for (size_t k = 0; k < kept; ++k) os << "    " << type_name(code.kept[k]) << " k" << k << ";\n";
  os << "    out[so.at(j)] = compute_" << code.name << "(";
  for (size_t i = 0; i < n; ++i) os << (i > 0 ? ", " : "") << "x" << i;
  for (size_t k = 0; k < kept; ++k) os << (n + k > 0 ? ", " : "") << "k" << k;
  os << ");\n";
  for (size_t k = 0; k < kept; ++k) os << "    kept" << k << "[so.at(j)] = k" << k << ";\n";
  os << "  }\n}\n";
  return os.str();
}

std::string source_text(const std::vector<Code>& codes, const std::vector<uint8_t>& ops,
                        bool one_of = false) {
  std::ostringstream os;
  os << "#include \"metal/kernels/elementwise.h\"\nnamespace vmath {\n";
  for (const uint8_t op : ops) os << row_function(op);
  os << "}  // namespace vmath\n";
  if (one_of) os << "constant int op [[function_constant(2)]];\n";
  for (const Code& code : codes) os << kernel_text(code);
  return os.str();
}

// --- which kernel ---

struct Kernel {
  std::string key, name;
  std::vector<FunctionConstant> constants;
  std::function<std::string()> source;
};

constexpr uint16_t kStrided = 0, kScalars = 1, kOp = 2;

// One source for all casts from a dtype.
Kernel cast_kernel(Dtype from, Dtype to) {
  return {std::string("cast_") + dtype_name(from), std::string("to_") + dtype_name(to), {}, [from] {
            std::vector<Code> codes;
            for (int v = 0; v < kDtypes; ++v) {
              const auto val = static_cast<Dtype::Val>(v);
              if (val == Dtype::Val::float64) continue;
              const Dtype target(val, 0);
              codes.push_back({std::string("to_") + dtype_name(target),
                               {from},
                               target,
                               "  return " + expression(kCastOp, from, target, {"in0"}) + ";\n"});
            }
            return source_text(codes, {});
          }};
}

// One source for all operations of so many operands from a dtype to another: which one is a function
// constant.
Kernel step_kernel(const Program::Step& step) {
  const int arity = op_info[step.op].arity;
  const Dtype from = step.from, to = step.to;
  const bool selects = step.op == row::op_of<row::Select>;
  std::string key =
      (selects ? "select" : "op" + std::to_string(arity)) + "_" + dtype_name(from) + "_" + dtype_name(to);
  const auto source = [=] {
    std::vector<uint8_t> ops;
    std::string body = "  switch (op) {\n";
    for (uint8_t op = 0; op < row::kOps; ++op) {
      if (op_info[op].arity != arity || op_info[op].result_dtype(from) != to || !has_kernel(op, from, to) ||
          (op == row::op_of<row::Select>) != selects)
        continue;
      ops.push_back(op);
      body += "    case " + std::to_string(op) + ": return " +
              expression(op, from, to, operand_names(static_cast<size_t>(arity))) + ";\n";
    }
    body += "  }\n  return cast_to<" + std::string(type_name(to)) + ">(0);\n";
    std::vector<Dtype> inputs(static_cast<size_t>(arity), from);
    if (selects) inputs[0] = bool_;
    return source_text({{"one_step", inputs, to, body}}, ops, true);
  };
  return {key, "one_step", {{kOp, static_cast<int32_t>(step.op)}}, source};
}

Kernel program_kernel(const Program& program, const std::vector<Dtype>& inputs) {
  const ProgramText text = text_of(program, inputs);
  return {text.key, text.code.name, {}, [text] { return source_text({text.code}, text.ops); }};
}

// --- running ---

struct Lines {
  uint32_t columns, rows, outer, dims;  // of the output; dims: of shape and strides
};

// What is kept beside `out` is row-contiguous, and `out` is then.
void run(Kernel kernel, const std::vector<const array*>& inputs, const array& out, const Stream& s,
         std::span<const array> kept = {}) {
  if (out.size() == 0) return;
  bool strided = !out.flags().row_contiguous;
  int32_t scalars = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const array& in = *inputs[i];
    if (in.size() == 1)
      scalars |= 1 << i;
    else
      strided = strided || !in.flags().row_contiguous || in.size() != out.size();
  }
  Layout layout;
  if (strided) {
    std::vector<Strides> strides;
    for (const array* in : inputs) strides.push_back(broadcast_strides(*in, out.shape()));
    strides.push_back(out.strides());
    layout = collapsed(out.shape(), strides);
    if (layout.shape.empty()) strided = false;  // one element
  }
  kernel.constants.push_back({kStrided, strided});
  kernel.constants.push_back({kScalars, scalars});
  Dispatch d(s, pipeline_of(kernel.key, kernel.name, kernel.constants, kernel.source));
  for (const array* in : inputs) d.in(*in);
  d.out(out);
  for (const array& k : kept) d.out(k);
  if (!strided) {
    // The line is cut where 32 bits end.
    constexpr size_t kMost = size_t{1} << 30;
    const size_t columns = std::min(out.size(), kMost), rows = (out.size() + kMost - 1) / kMost;
    const size_t last = out.size() - (rows - 1) * kMost;
    d.value(
        Lines{static_cast<uint32_t>(columns), static_cast<uint32_t>(rows), static_cast<uint32_t>(last), 0});
    const uint32_t x = ceil_div(columns, kPerThread);
    d.threads({x, static_cast<uint32_t>(rows), 1}, {std::min<uint32_t>(x, 256), 1, 1});
    return;
  }
  const size_t dims = layout.shape.size();
  const auto size = [&](size_t from_end) {
    return from_end < dims ? static_cast<uint32_t>(layout.shape[dims - 1 - from_end]) : 1u;
  };
  const uint32_t columns = size(0), rows = size(1);
  const auto outer = static_cast<uint32_t>(out.size() / columns / rows);
  std::vector<uint32_t> shape(layout.shape.begin(), layout.shape.end());
  std::vector<int64_t> strides;
  for (const Strides& of : layout.strides) strides.insert(strides.end(), of.begin(), of.end());
  // Where in its bytes each operand begins.
  for (const array* in : inputs) strides.push_back(extent_of(*in).first);
  strides.push_back(extent_of(out).first);
  d.value(Lines{columns, rows, outer, static_cast<uint32_t>(dims)}).values(shape).values(strides);
  const uint32_t x = ceil_div(columns, kPerThread);
  const uint32_t gx = std::min<uint32_t>(x, 64), gy = std::min<uint32_t>(rows, 256 / gx);
  d.threads({x, rows, outer}, {gx, gy, 1});
}

void run_program(const Program& program, const std::vector<const array*>& inputs, std::vector<array>& outputs,
                 const Donors& donors) {
  Encoder& encoder = Encoder::current();
  const array& out = outputs.back();
  const Stream s = out.primitive().stream();
  encoder.set_operation(names_of(program));
  if (const std::string missing = step_without_kernel(program); !missing.empty()) {
    count_hand_over(missing);
    encoder.finish_for(inputs);
    return run_program_of(core::Device::cpu)(program, inputs, outputs, donors);
  }
  for (size_t k = 0; k < outputs.size(); ++k) {
    const array* donor = donors[k] < 0 ? nullptr : inputs[static_cast<size_t>(donors[k])];
    if (donor && on_device(*donor)) {
      outputs[k].copy_shared_buffer(*donor);
    } else {
      allocate(outputs[k]);
    }
  }
  std::vector<Dtype> dtypes;
  for (const array* in : inputs) dtypes.push_back(in->dtype());
  const Program::Step& first = program.steps[0];
  const bool plain = program.steps.size() == 1 && first.in[0] == 0 &&
                     (program.inputs < 2 || first.in[1] == 1) && (program.inputs < 3 || first.in[2] == 2) &&
                     program.inputs == (first.op == kCastOp ? 1 : op_info[first.op].arity);
  if (!plain)
    return run(program_kernel(program, dtypes), inputs, out, s, {outputs.data(), outputs.size() - 1});
  run(first.op == kCastOp ? cast_kernel(first.from, first.to) : step_kernel(first), inputs, out, s);
}

// The same elements under the name of another dtype of their size.
array with_dtype(const array& a, Dtype dtype) {
  array out(a.shape(), dtype, nullptr, {});
  out.copy_shared_buffer(a);
  return out;
}

// As many as on the CPU, to which a program may be handed over.
constexpr size_t kMostKept = 4;
const bool registered = (set_program_kernel(core::Device::gpu, run_program, kMostKept), true);

}  // namespace

void copy_into(const array& in, const array& out, const Stream& s) {
  if (in.dtype() != float64 || out.dtype() != float64)
    return run(cast_kernel(in.dtype(), out.dtype()), {&in}, out, s);
  // 64-bit floats are moved as integers.
  const array from = with_dtype(in, uint64), to = with_dtype(out, uint64);
  run(cast_kernel(uint64, uint64), {&from}, to, s);
}
void copy_to(const array& in, const array& out, const Stream& s) {
  if (in.shape() == out.shape()) return copy_into(in, out, s);
  array to(in.shape(), out.dtype(), nullptr, {});  // the same places under the input's shape
  to.copy_shared_buffer(out, row_major_strides(in.shape()), {true, true, in.ndim() <= 1}, out.size());
  copy_into(in, to, s);
}
void fill(const array& value, const array& out, const Stream& s) { copy_into(value, out, s); }

array row_contiguous(const array& a, const Stream& s) {
  if (a.flags().row_contiguous) return a;
  array out(a.shape(), a.dtype(), nullptr, {});
  allocate(out);
  copy_to(a, out, s);
  return out;
}

}  // namespace mlx::core::metal
