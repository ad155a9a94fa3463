#include "metal/host/program_text.h"

#include <algorithm>
#include <sstream>

#include "mlx/utils.h"

namespace mlx::core::metal {
namespace {

namespace row = elementwise;
using row::op_info;

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

// In which type an operation computes: 16-bit floats as float32, rounded once.
std::string compute_type(Dtype dtype) {
  return dtype == float16 || dtype == bfloat16 ? "float" : type_name(dtype);
}

std::string step_name(const Program::Step& step) {
  return step.op == kCastOp ? "astype" : std::string(op_info[step.op].name);
}

}  // namespace

bool has_kernel(uint8_t op, Dtype from, Dtype to) {
  if (from == float64 || to == float64) return false;
  if (op == kCastOp) return true;
  const auto holds = [op](const auto& list) {
    return std::find(std::begin(list), std::end(list), op) != std::end(list);
  };
  return from == complex64 ? holds(complex_on_gpu)
                           : !holds(real_on_cpu) && row::contains(op_info[op].accepts, from.val());
}

std::string step_without_kernel(const Program& program) {
  for (const Program::Step& step : program.steps)
    if (!has_kernel(step.op, step.from, step.to)) return step_name(step);
  return "";
}
std::string names_of(const Program& program) {
  std::string names;
  for (const Program::Step& step : program.steps) names += (names.empty() ? "" : "+") + step_name(step);
  return names;
}

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

std::vector<std::string> operand_names(size_t n) {
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) names.push_back("in" + std::to_string(i));
  return names;
}

std::string compute_function(const Code& code) {
  std::ostringstream os;
  const size_t n = code.inputs.size(), kept = code.kept.size();
  os << "METAL_FUNC " << type_name(code.output) << " compute_" << code.name << "(";
  for (size_t i = 0; i < n; ++i) os << (i > 0 ? ", " : "") << type_name(code.inputs[i]) << " in" << i;
  for (size_t k = 0; k < kept; ++k)
    os << (n + k > 0 ? ", " : "") << "thread " << type_name(code.kept[k]) << "& kept" << k;
  os << ") {\n" << code.body << "}\n";
  return os.str();
}

ProgramText text_of(const Program& program, const std::vector<Dtype>& inputs) {
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
  return {key.str(), ops, {"program", inputs, program.steps.back().to, body.str(), kept}};
}

}  // namespace mlx::core::metal
