// Programs of the evaluator (mlx/graph/program.h) as functions of the Metal Shading Language, made from the
// table of mlx/graph/elementwise.h.
#pragma once

#include <string>
#include <vector>

#include "metal/host/kernels.h"
#include "mlx/graph/elementwise.h"
#include "mlx/graph/program.h"

namespace mlx::core::metal {

// Whether Metal computes an operation of the table, or a cast.
bool has_kernel(uint8_t op, Dtype from, Dtype to);
// The first step of a program that it does not compute, else "".
std::string step_without_kernel(const Program& program);
// The operations of a program, joined by +.
std::string names_of(const Program& program);

struct Code {
  std::string name;  // of the kernel
  std::vector<Dtype> inputs;
  Dtype output;
  std::string body;  // statements that compute from in0, in1, ..., set kept0, kept1, ... and return
  std::vector<Dtype> kept = {};
};

// A step as an expression of its operands' names.
std::string expression(uint8_t op, Dtype from, Dtype to, const std::vector<std::string>& operands);
// in0, in1, ...
std::vector<std::string> operand_names(size_t n);
// The row as a function of vmath: `op_add`.
std::string row_function(uint8_t op);
// The function `compute_NAME(in0, in1, ..., kept0, ...)`.
std::string compute_function(const Code& code);

struct ProgramText {
  std::string key;           // the same for programs that are the same function
  std::vector<uint8_t> ops;  // whose row functions it calls
  Code code;
};
ProgramText text_of(const Program& program, const std::vector<Dtype>& inputs);

}  // namespace mlx::core::metal
