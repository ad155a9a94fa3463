// id objc_msgSend(id self, SEL selector, ...): finds the method and jumps to it with all arguments as they came.
// objc_msgSend_stret, of x86-64 only, is for results in memory, whose address is an argument in front of these.
#if defined(__x86_64__)
.macro SEND name, self, selector
  .text
  .globl \name
  .type \name, @function
\name:
  pushq %rbp
  movq %rsp, %rbp
  subq $192, %rsp
  movq %rdi, -8(%rbp)
  movq %rsi, -16(%rbp)
  movq %rdx, -24(%rbp)
  movq %rcx, -32(%rbp)
  movq %r8, -40(%rbp)
  movq %r9, -48(%rbp)
  movdqu %xmm0, -64(%rbp)
  movdqu %xmm1, -80(%rbp)
  movdqu %xmm2, -96(%rbp)
  movdqu %xmm3, -112(%rbp)
  movdqu %xmm4, -128(%rbp)
  movdqu %xmm5, -144(%rbp)
  movdqu %xmm6, -160(%rbp)
  movdqu %xmm7, -176(%rbp)
  movq \selector, %rax
  movq \self, %rdi
  movq %rax, %rsi
  call standin_lookup
  movq -8(%rbp), %rdi
  movq -16(%rbp), %rsi
  movq -24(%rbp), %rdx
  movq -32(%rbp), %rcx
  movq -40(%rbp), %r8
  movq -48(%rbp), %r9
  movdqu -64(%rbp), %xmm0
  movdqu -80(%rbp), %xmm1
  movdqu -96(%rbp), %xmm2
  movdqu -112(%rbp), %xmm3
  movdqu -128(%rbp), %xmm4
  movdqu -144(%rbp), %xmm5
  movdqu -160(%rbp), %xmm6
  movdqu -176(%rbp), %xmm7
  leave
  jmp *%rax
  .size \name, .-\name
.endm
SEND objc_msgSend, %rdi, %rsi
SEND objc_msgSend_stret, %rsi, %rdx
#elif defined(__aarch64__)
  .text
  .globl objc_msgSend
  .type objc_msgSend, %function
objc_msgSend:
  stp x29, x30, [sp, #-224]!
  mov x29, sp
  stp x0, x1, [sp, #16]
  stp x2, x3, [sp, #32]
  stp x4, x5, [sp, #48]
  stp x6, x7, [sp, #64]
  str x8, [sp, #80]
  stp q0, q1, [sp, #96]
  stp q2, q3, [sp, #128]
  stp q4, q5, [sp, #160]
  stp q6, q7, [sp, #192]
  bl standin_lookup
  mov x16, x0
  ldp x0, x1, [sp, #16]
  ldp x2, x3, [sp, #32]
  ldp x4, x5, [sp, #48]
  ldp x6, x7, [sp, #64]
  ldr x8, [sp, #80]
  ldp q0, q1, [sp, #96]
  ldp q2, q3, [sp, #128]
  ldp q4, q5, [sp, #160]
  ldp q6, q7, [sp, #192]
  ldp x29, x30, [sp], #224
  br x16
  .size objc_msgSend, .-objc_msgSend
#endif
  .section .note.GNU-stack,"",%progbits
