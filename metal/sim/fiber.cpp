#include "metal/sim/fiber.h"

#include <sys/mman.h>

#include <new>

namespace mlx::core::metal::sim {

namespace {
constexpr size_t guard = 4096;
constexpr size_t most = 1024;
}  // namespace

#if defined(__x86_64__)
asm(R"(
.text
.hidden mlx_sim_switch
.globl mlx_sim_switch
.type mlx_sim_switch, @function
mlx_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mlx_sim_switch, .-mlx_sim_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.hidden mlx_sim_switch
.globl mlx_sim_switch
.type mlx_sim_switch, %function
mlx_sim_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size mlx_sim_switch, .-mlx_sim_switch
)");
#else
#error "the simulator's stacks are written for x86-64 and aarch64"
#endif

Stacks::~Stacks() {
  if (low_) munmap(reinterpret_cast<void*>(low_), most * size);
}

void Stacks::reserve(size_t count) {
  if (!low_) {
    void* p = mmap(nullptr, most * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    low_ = reinterpret_cast<uintptr_t>(p);
    count_ = most;
  }
  for (; ready_ < count; ++ready_)
    if (mprotect(reinterpret_cast<void*>(low_ + ready_ * size + guard), size - guard,
                 PROT_READ | PROT_WRITE) != 0)
      throw std::bad_alloc();
}

void* Stacks::prepare(size_t index, void (*entry)()) {
  // Tops at different distances from the end of a page: else all of them would fall into the same cache
  // lines.
  uintptr_t top = low_ + (index + 1) * size - 64 * (1 + index % 48);
  auto* p = reinterpret_cast<uintptr_t*>(top & ~uintptr_t{15});
#if defined(__x86_64__)
  *--p = 0;  // entry's return address
  *--p = reinterpret_cast<uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--p = 0;
#else
  p -= 20;
  for (int i = 0; i < 20; ++i) p[i] = 0;
  p[11] = reinterpret_cast<uintptr_t>(entry);
#endif
  return p;
}

uintptr_t Stacks::limit(uintptr_t low, uintptr_t address) {
  return low + (address - low) / size * size + guard;
}

}  // namespace mlx::core::metal::sim
