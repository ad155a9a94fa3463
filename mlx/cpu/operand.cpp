#include "mlx/cpu/operand.h"

#include <algorithm>

namespace mlx::core::cpu {

Operand operand_of(const array& in, const array& out) {
  Operand o{in.data<char>(), static_cast<int>(in.itemsize()), in.size() == 1, false, {}};
  if (o.constant) return o;
  o.contiguous = in.flags().row_contiguous && in.size() == out.size();
  // Strides of the input as broadcast to the output's shape.
  o.strides = Strides(out.ndim(), 0);
  const size_t lead = out.ndim() - in.ndim();
  for (size_t i = 0; i < in.ndim(); ++i)
    if (in.shape()[i] != 1) o.strides[lead + i] = in.strides()[i];
  o.constant = std::all_of(o.strides.begin(), o.strides.end(), [](int64_t stride) { return stride == 0; });
  return o;
}

SmallVector<int64_t> collapse(const Shape& out, std::vector<Operand>& operands) {
  SmallVector<int64_t> shape;
  for (ShapeElem d : out) {
    if (d == 1) continue;
    shape.push_back(d);
  }
  for (Operand& o : operands) {
    if (o.constant) continue;
    Strides kept;
    for (size_t i = 0; i < out.size(); ++i)
      if (out[i] != 1) kept.push_back(o.contiguous ? row_major_strides(out)[i] : o.strides[i]);
    o.strides = kept;
  }
  for (size_t i = shape.size(); i-- > 1;) {
    const bool merge = std::all_of(operands.begin(), operands.end(), [&](const Operand& o) {
      return o.constant || o.strides[i - 1] == o.strides[i] * shape[i];
    });
    if (!merge) continue;
    shape[i - 1] *= shape[i];
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(i));
    for (Operand& o : operands) {
      if (o.constant) continue;
      o.strides.erase(o.strides.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
  }
  if (shape.size() == 1) {
    shape.insert(shape.begin(), 1);
    for (Operand& o : operands)
      if (!o.constant) o.strides.insert(o.strides.begin(), 0);
  }
  return shape;
}

}  // namespace mlx::core::cpu
