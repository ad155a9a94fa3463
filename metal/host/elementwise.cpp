#include "metal/host/elementwise.h"

#include <algorithm>
#include <sstream>

#include "metal/host/layout.h"
#include "mlx/graph/elementwise.h"
#include "mlx/utils.h"

namespace mlx::core::metal {
namespace {

namespace row = elementwise;
using row::op_info;

// --- what Metal computes ---

// Functions of complex numbers that lose digits in float32 near their branch cuts, and functions that Metal
// does not have, are left to the CPU.
constexpr uint8_t real_on_cpu[] = {row::op_of<row::Lgamma>, row::op_of<row::Digamma>,
                                   row::op_of<row::Polygamma>};
constexpr uint8_t complex_on_gpu[] = {
    row::op_of<row::Abs>,          row::op_of<row::Negative>,   row::op_of<row::Sign>,
    row::op_of<row::Square>,       row::op_of<row::Reciprocal>, row::op_of<row::Exp>,
    row::op_of<row::Conjugate>,    row::op_of<row::Real>,       row::op_of<row::Imag>,
    row::op_of<row::IsNan>,        row::op_of<row::IsInf>,      row::op_of<row::IsFinite>,
    row::op_of<row::IsPosInf>,     row::op_of<row::IsNegInf>,   row::op_of<row::Add>,
    row::op_of<row::Subtract>,     row::op_of<row::Multiply>,   row::op_of<row::Divide>,
    row::op_of<row::Equal>,        row::op_of<row::NotEqual>,   row::op_of<row::NanEqual>,
    row::op_of<row::Less>,         row::op_of<row::LessEqual>,  row::op_of<row::Greater>,
    row::op_of<row::GreaterEqual>, row::op_of<row::LogicalNot>, row::op_of<row::LogicalAnd>,
    row::op_of<row::LogicalOr>,    row::op_of<row::LogicalXor>, row::op_of<row::Select>,
    row::op_of<row::Maximum>,      row::op_of<row::Minimum>};

bool has_kernel(uint8_t op, Dtype from, Dtype to) {
  if (from == float64 || to == float64) return false;
  if (op == kCastOp) return true;
  const auto holds = [op](const auto& list) {
    return std::find(std::begin(list), std::end(list), op) != std::end(list);
  };
  return from == complex64 ? holds(complex_on_gpu)
                           : !holds(real_on_cpu) && row::contains(op_info[op].accepts, from.val());
}

// --- sources ---

// In which type an operation computes: 16-bit floats as float32, rounded once.
std::string compute_type(Dtype dtype) {
  return dtype == float16 || dtype == bfloat16 ? "float" : type_name(dtype);
}

struct Code {
  std::string name;  // of the kernel
  std::vector<Dtype> inputs;
  Dtype output;
  std::string body;  // statements that compute from in0, in1, ..., set kept0, kept1, ... and return
  std::vector<Dtype> kept = {};
};

// A step as an expression of its operands' names.
std::string expression(uint8_t op, Dtype from, Dtype to, const std::vector<std::string>& operands) {
  std::ostringstream os;
  if (op == kCastOp) {
    os << "cast_to<" << type_name(to) << ">(" << operands[0] << ")";
    return os.str();
  }
  const std::string type = compute_type(from), result = type_name(to);
  const bool own = op == row::op_of<row::Nextafter>;  // of the type's own neighbours
  const bool selects = op == row::op_of<row::Select>;
  os << "static_cast<" << result << ">(vmath::op_" << op_info[op].name << "(";
  for (size_t i = 0; i < operands.size(); ++i) {
    if (i > 0) os << ", ";
    const std::string wanted = selects && i == 0 ? "bool" : own || selects ? type_name(from) : type;
    os << "static_cast<" << wanted << ">(" << operands[i] << ")";
  }
  os << "))";
  return os.str();
}

// The row as a function of vmath: `op_add`.
std::string row_function(uint8_t op) {
  std::ostringstream os;
  const row::OpInfo& info = op_info[op];
  const bool selects = op == row::op_of<row::Select>;
  os << "template <class T>\nMETAL_FUNC auto op_" << info.name << "(";
  const char* names[] = {"x", "y", "z"};
  for (int i = 0; i < info.arity; ++i)
    os << (i > 0 ? ", " : "") << (selects && i == 0 ? "bool" : "T") << ' ' << names[i];
  os << ") {\n  return " << info.msl << ";\n}\n";
  return os.str();
}

// Each thread computes kPerThread elements of a line. Bytes moved: each operand and each output once, the
// least there is; arithmetic intensity is that of the program, below one operation per byte for most.
constexpr int kPerThread = 4;

// Values that are kept beside the output lie as it does.
std::string kernel_text(const Code& code) {
  std::ostringstream os;
  const size_t n = code.inputs.size(), kept = code.kept.size();
  os << "METAL_FUNC " << type_name(code.output) << " compute_" << code.name << "(";
  for (size_t i = 0; i < n; ++i) os << (i > 0 ? ", " : "") << type_name(code.inputs[i]) << " in" << i;
  for (size_t k = 0; k < kept; ++k)
    os << (n + k > 0 ? ", " : "") << "thread " << type_name(code.kept[k]) << "& kept" << k;
  os << ") {\n" << code.body << "}\n";
  os << "kernel void " << code.name << "(";
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

std::vector<std::string> operand_names(size_t n) {
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) names.push_back("in" + std::to_string(i));
  return names;
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
  std::ostringstream key, body;
  std::vector<uint8_t> ops;
  std::vector<Dtype> kept;
  key << "program";
  for (const Dtype d : inputs) key << '_' << dtype_name(d);
  std::vector<std::string> names = operand_names(inputs.size());
  names.resize(inputs.size() + static_cast<size_t>(program.registers));
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Program::Step& step = program.steps[i];
    const bool last = i + 1 == program.steps.size();
    const int arity = step.op == kCastOp ? 1 : op_info[step.op].arity;
    if (step.op != kCastOp && std::find(ops.begin(), ops.end(), step.op) == ops.end()) ops.push_back(step.op);
    key << '|' << int{step.op} << dtype_name(step.from) << dtype_name(step.to) << ':'
        << (last ? 0 : step.out);
    std::vector<std::string> operands;
    for (int k = 0; k < arity; ++k) {
      key << ',' << step.in[static_cast<size_t>(k)];
      operands.push_back(names[static_cast<size_t>(step.in[static_cast<size_t>(k)])]);
    }
    const std::string value = expression(step.op, step.from, step.to, operands);
    if (last) {
      body << "  return " << value << ";\n";
    } else {
      const std::string name = "v" + std::to_string(i);
      body << "  const " << type_name(step.to) << ' ' << name << " = " << value << ";\n";
      names[static_cast<size_t>(step.out)] = name;
      if (kept.size() < program.kept.size() && program.kept[kept.size()] == static_cast<int16_t>(i)) {
        key << '=';
        body << "  kept" << kept.size() << " = " << name << ";\n";
        kept.push_back(step.to);
      }
    }
  }
  const Dtype out = program.steps.back().to;
  return {key.str(), "program", {}, [=, text = body.str()] {
            return source_text({{"program", inputs, out, text, kept}}, ops);
          }};
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
  bool supported = true;
  std::string names;
  for (const Program::Step& step : program.steps) {
    const std::string name = step.op == kCastOp ? "astype" : std::string(op_info[step.op].name);
    names += (names.empty() ? "" : "+") + name;
    if (has_kernel(step.op, step.from, step.to)) continue;
    if (supported) count_hand_over(name);
    supported = false;
  }
  encoder.set_operation(names);
  if (!supported) {
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
