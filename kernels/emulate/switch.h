// switch.h: changes from one stack to another. Written by hand because swapcontext makes a system call each time.
// drg_emulate_switch(save, load) pushes the registers a call must keep, stores the stack pointer in *save, and goes on where the
// stack `load` was left. prepare_stack makes a stack that begins in `entry`.
#pragma once
#include <cstdint>

#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void drg_emulate_switch(void** save, void* load);
#ifdef __APPLE__
#define DRG_SYMBOL "_drg_emulate_switch"
#else
#define DRG_SYMBOL "drg_emulate_switch"
#endif
#endif

#if defined(__x86_64__)
asm(".text\n"
    ".balign 16\n"
    ".globl " DRG_SYMBOL "\n"
    DRG_SYMBOL ":\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
static void* prepare_stack(char* stack, size_t bytes, void (*entry)()) {
  uint64_t* top = reinterpret_cast<uint64_t*>(stack + bytes);
  *--top = 0;   // entry must see the stack as after a call: 8 bytes past a multiple of 16
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; i++) *--top = 0;
  return top;
}
#elif defined(__aarch64__)
asm(".text\n"
    ".balign 16\n"
    ".globl " DRG_SYMBOL "\n"
    DRG_SYMBOL ":\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, #48]\n"
    "  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n  str x9, [x0]\n"
    "  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n");
static void* prepare_stack(char* stack, size_t bytes, void (*entry)()) {
  uint64_t* top = reinterpret_cast<uint64_t*>(stack + bytes) - 20;
  for (int i = 0; i < 20; i++) top[i] = 0;
  top[11] = reinterpret_cast<uint64_t>(entry);   // x30
  return top;
}
#else
#include <ucontext.h>
// The context lies at the stack's low end, or, of the host's own stack, in its frame.
static void drg_emulate_switch(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(load));
}
static void* prepare_stack(char* stack, size_t bytes, void (*entry)()) {
  ucontext_t* context = reinterpret_cast<ucontext_t*>(stack + 64);
  getcontext(context);
  context->uc_stack.ss_sp = stack + 64 + sizeof(ucontext_t);
  context->uc_stack.ss_size = bytes - 64 - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}
#endif
