#include "mlx/cpu/isa/reduce.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {

const ReduceTable& reduce_kernels_table() {
  static const ReduceTable table = [] {
    ReduceTable t;
    rows::add_sums(t);
    rows::add_products(t);
    rows::add_extremes(t);
    rows::add_logic(t);
    rows::add_moments(t);
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
