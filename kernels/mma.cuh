// mma.cuh: tensor-core products of one warp, matrix loads and asynchronous copies; sm_80 and later.
// Addresses are 32-bit shared addresses (shared_address). All 32 lanes of a warp call the warp operations together.
//
//   void mma<T>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)         d += a b, m16n8k16, T = bf16 or f16
//   void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)       d += a b, m16n8k8; low 13 bits are ignored
//   uint32_t to_tf32(float)                                                              rounded to tf32 (cvt.rna), as f32 bits
//     lane = 4 g + q; d[0], d[1]: row g, columns 2q, 2q+1; d[2], d[3]: row g + 8
//     16-bit: a[0] row g, k 2q, 2q+1; a[1] row g+8; a[2] row g, k + 8; a[3] row g+8, k + 8;  b0 column g, k 2q, 2q+1; b1 k + 8
//     tf32:   a[0] row g, k q; a[1] row g+8; a[2] row g, k q+4; a[3] row g+8, k q+4;         b0 column g, k q; b1 k q+4
//   void ldmatrix(uint32_t (&r)[N], uint32_t row_address)             N = 1, 2, 4 matrices of 8 x 8 16-bit elements; lanes 8i to 8i+7
//   void ldmatrix_transposed(uint32_t (&r)[N], uint32_t row_address)  give the rows of matrix i (16-byte aligned)
//   void cp_async<BYTES>(uint32_t to, const void* from, bool valid = true)   4, 8 or 16 bytes (16 past L1); zeros when not valid, and
//                                                                     `from` is then not read
//   void cp_async_commit()   void cp_async_wait<N>()                  a thread's own groups: all but the latest N have landed;
//                                                                     other threads see them after a barrier
#pragma once
#include "drg.cuh"

template <typename T> DRG_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, DRG_HERE) {
  static_assert(std::is_same<T, bf16>::value || std::is_same<T, f16>::value, "mma takes bf16 or f16");
#ifdef DRG_EMULATE
  drg::emulate::multiply(std::is_same<T, bf16>::value ? drg::emulate::Element::bf16 : drg::emulate::Element::f16, d, a, b0, b1, {"mma", file, line});
#else
  if constexpr (std::is_same<T, bf16>::value) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#endif
}

DRG_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::multiply(drg::emulate::Element::tf32, d, a, b0, b1, {"mma_tf32", file, line});
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

DRG_DEVICE uint32_t to_tf32(float x) {
#ifdef DRG_EMULATE
  return drg::emulate::float_to_tf32(x);
#else
  uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
  return u;
#endif
}

template <int N> DRG_DEVICE void ldmatrix(uint32_t (&r)[N], uint32_t address, DRG_HERE) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
#ifdef DRG_EMULATE
  drg::emulate::load_matrices(address, r, N, false, {"ldmatrix", file, line});
#else
  if constexpr (N == 1) asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  else if constexpr (N == 2) asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
  else asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
#endif
}
template <int N> DRG_DEVICE void ldmatrix_transposed(uint32_t (&r)[N], uint32_t address, DRG_HERE) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
#ifdef DRG_EMULATE
  drg::emulate::load_matrices(address, r, N, true, {"ldmatrix_transposed", file, line});
#else
  if constexpr (N == 1) asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  else if constexpr (N == 2) asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
  else asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
#endif
}

template <int BYTES> DRG_DEVICE void cp_async(uint32_t to, const void* from, bool valid = true) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
#ifdef DRG_EMULATE
  drg::emulate::copy_async(to, from, BYTES, valid ? BYTES : 0);
#else
  if constexpr (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(valid ? BYTES : 0) : "memory");
#endif
}
DRG_DEVICE void cp_async_commit() {
#ifdef DRG_EMULATE
  drg::emulate::copy_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int N> DRG_DEVICE void cp_async_wait() {
#ifdef DRG_EMULATE
  drg::emulate::copy_wait(N);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}
