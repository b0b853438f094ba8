// sm90.cuh: barriers in shared memory, bulk tensor copies and warpgroup products of sm_90a.
// Addresses are 32-bit shared addresses (shared_address). Only a compilation for sm_90a (or the emulator) has these functions.
//
// Barriers   8 bytes of shared memory each, e.g. SHARED(uint64_t, bars, 8)
//   void mbarrier_init(uint32_t bar, int arrivals)   one thread; then fence_mbarrier_init() and __syncthreads()
//   void mbarrier_expect(uint32_t bar, int bytes)    one arrival that also announces bytes of tensor_load
//   void mbarrier_arrive(uint32_t bar)
//   void mbarrier_wait(uint32_t bar, int parity)     until the phase of that parity (0 first) is complete; parity 1 passes at once
//                                                    on a new barrier
// Tensor copies   by one thread; map is the kernel's `const __grid_constant__ CUtensorMap`; coordinates innermost first, may lie
//                 outside (zeros are loaded, nothing is stored); shared boxes aligned to 8 times the swizzle bytes (128 without)
//   void tensor_load(uint32_t to, const CUtensorMap& map, uint32_t bar, c0, c1[, c2[, c3]])
//   void tensor_store(const CUtensorMap& map, uint32_t from, c0, c1[, c2[, c3]])       after fence_async() of the writers + a barrier
//   void bulk_commit()   void bulk_wait_read<N>()   void bulk_wait<N>()     the thread's stores: all but the latest N groups have
//                                                    been read from shared memory / are in global memory
//   void tensor_prefetch(const CUtensorMap& map, c0, c1[, c2[, c3]])   into L2;  void tensor_map_prefetch(const CUtensorMap& map)
//   uint32_t swizzle128(uint32_t address)            where the byte at this place of a 128-byte-swizzled buffer lies
//   void fence_async()                               ordinary shared writes become visible to tensor copies and wgmma
// Warpgroups     128 threads, four whole warps; all of them call these together
//   void registers_less<N>()   void registers_more<N>()
//   void wgmma_ss<T, N, A_MN, B_MN>(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d)    m64nNk16: d = a b + (scale_d ? d : 0)
//   void wgmma_rs<T, N, B_MN>(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d)   A from registers
//     T = bf16, f16; N = 8, 16 .. 256; A_MN, B_MN = 1: that operand lies M- or N-major in shared memory (default 0: K-major)
//     d and a, per warp w of the group, rows 16 w + ..: as in mma.cuh; d[4 j + i] is column block 8 j
//     d and a must live, unchanged, until the wgmma_wait that covers them
//   void wgmma_fence()   before the first wgmma of a group;   void wgmma_commit()   void wgmma_wait<N>()
//   void wgmma_pin(d)    keeps the compiler from moving accesses of d across; before wgmma_fence and after wgmma_commit/wait
//   uint64_t descriptor_k(uint32_t address)          K-major, 128-byte swizzle: rows of 64 elements, 8 rows a KB; next 16 k: + 2
//   uint64_t descriptor_mn(uint32_t address, uint32_t next64)   M/N-major: 64 of M or N a row, 8 k a KB; next64: bytes to the next
//                                                    64 of M or N; next 16 k: + 128
//     a row-shifted view is the descriptor of the shifted address (row * 128); the buffer itself is aligned to 1024
// Matrix stores  void stmatrix(const uint32_t (&r)[N], uint32_t row_address)   void stmatrix_transposed(...)     as ldmatrix in mma.cuh
#pragma once
#include "mma.cuh"

#if defined(DRG_EMULATE) || defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)

DRG_DEVICE void mbarrier_init(uint32_t bar, int arrivals) {
#ifdef DRG_EMULATE
  drg::emulate::mbarrier_init(bar, arrivals);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
#endif
}
DRG_DEVICE void fence_mbarrier_init() {
#ifndef DRG_EMULATE
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
DRG_DEVICE void mbarrier_expect(uint32_t bar, int bytes) {
#ifdef DRG_EMULATE
  drg::emulate::mbarrier_arrive(bar, bytes);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
#endif
}
DRG_DEVICE void mbarrier_arrive(uint32_t bar) {
#ifdef DRG_EMULATE
  drg::emulate::mbarrier_arrive(bar, 0);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
#endif
}
DRG_DEVICE void mbarrier_wait(uint32_t bar, int parity, DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::mbarrier_wait(bar, parity, {"mbarrier_wait", file, line});
#else
  asm volatile(
      "{\n.reg .pred p;\nWAIT: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}\n" ::"r"(bar), "r"(parity) : "memory");
#endif
}
DRG_DEVICE void fence_async() {
#ifndef DRG_EMULATE
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

template <typename... C> DRG_DEVICE void tensor_load(uint32_t to, const CUtensorMap& map, uint32_t bar, C... coordinates) {
  static_assert(sizeof...(C) >= 2 && sizeof...(C) <= 4, "2 to 4 coordinates");
  const int c[] = {(int)coordinates...};
#ifdef DRG_EMULATE
  drg::emulate::tensor_load(to, &map, bar, sizeof...(C), c);
#else
  if constexpr (sizeof...(C) == 2) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(to), "l"(&map), "r"(bar), "r"(c[0]), "r"(c[1]) : "memory");
  } else if constexpr (sizeof...(C) == 3) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(to), "l"(&map), "r"(bar), "r"(c[0]), "r"(c[1]), "r"(c[2]) : "memory");
  } else {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 ::"r"(to), "l"(&map), "r"(bar), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]) : "memory");
  }
#endif
}
template <typename... C> DRG_DEVICE void tensor_store(const CUtensorMap& map, uint32_t from, C... coordinates) {
  static_assert(sizeof...(C) >= 2 && sizeof...(C) <= 4, "2 to 4 coordinates");
  const int c[] = {(int)coordinates...};
#ifdef DRG_EMULATE
  drg::emulate::tensor_store(&map, from, sizeof...(C), c);
#else
  if constexpr (sizeof...(C) == 2) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map), "r"(from), "r"(c[0]), "r"(c[1]) : "memory");
  } else if constexpr (sizeof...(C) == 3) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map), "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]) : "memory");
  } else {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];"
                 ::"l"(&map), "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]) : "memory");
  }
#endif
}
template <typename... C> DRG_DEVICE void tensor_prefetch(const CUtensorMap& map, C... coordinates) {
  static_assert(sizeof...(C) >= 2 && sizeof...(C) <= 4, "2 to 4 coordinates");
  [[maybe_unused]] const int c[] = {(int)coordinates...};
#ifdef DRG_EMULATE
  drg::emulate::tensor_check(&map, sizeof...(C));
#else
  if constexpr (sizeof...(C) == 2) {
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map), "r"(c[0]), "r"(c[1]) : "memory");
  } else if constexpr (sizeof...(C) == 3) {
    asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global.tile [%0, {%1, %2, %3}];" ::"l"(&map), "r"(c[0]), "r"(c[1]), "r"(c[2]) : "memory");
  } else {
    asm volatile("cp.async.bulk.prefetch.tensor.4d.L2.global.tile [%0, {%1, %2, %3, %4}];" ::"l"(&map), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]) : "memory");
  }
#endif
}
DRG_DEVICE void tensor_map_prefetch([[maybe_unused]] const CUtensorMap& map) {
#ifndef DRG_EMULATE
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}
DRG_DEVICE void bulk_commit() {
#ifdef DRG_EMULATE
  drg::emulate::bulk_commit();
#else
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
template <int N> DRG_DEVICE void bulk_wait_read() {
#ifdef DRG_EMULATE
  drg::emulate::bulk_wait(N);
#else
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
#endif
}
template <int N> DRG_DEVICE void bulk_wait() {
#ifdef DRG_EMULATE
  drg::emulate::bulk_wait(N);
#else
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
#endif
}

DRG_DEVICE uint32_t swizzle128(uint32_t address) { return address ^ ((address >> 7 & 7) << 4); }

template <int N> DRG_DEVICE void stmatrix(const uint32_t (&r)[N], uint32_t address, DRG_HERE) {
  static_assert(N == 1 || N == 2 || N == 4, "stmatrix stores 1, 2 or 4 matrices");
#ifdef DRG_EMULATE
  drg::emulate::store_matrices(address, r, N, false, {"stmatrix", file, line});
#else
  if constexpr (N == 1) asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(address), "r"(r[0]) : "memory");
  else if constexpr (N == 2) asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" ::"r"(address), "r"(r[0]), "r"(r[1]) : "memory");
  else asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
#endif
}
template <int N> DRG_DEVICE void stmatrix_transposed(const uint32_t (&r)[N], uint32_t address, DRG_HERE) {
  static_assert(N == 1 || N == 2 || N == 4, "stmatrix stores 1, 2 or 4 matrices");
#ifdef DRG_EMULATE
  drg::emulate::store_matrices(address, r, N, true, {"stmatrix_transposed", file, line});
#else
  if constexpr (N == 1) asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(address), "r"(r[0]) : "memory");
  else if constexpr (N == 2) asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(address), "r"(r[0]), "r"(r[1]) : "memory");
  else asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
#endif
}

template <int N> DRG_DEVICE void registers_less() {
#ifndef DRG_EMULATE
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
#endif
}
template <int N> DRG_DEVICE void registers_more() {
#ifndef DRG_EMULATE
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

// Descriptors: address / 16 in bits 0-13, leading offset / 16 in 16-29, stride offset / 16 in 32-45, 1 (128-byte swizzle) in 62-63.
DRG_DEVICE uint64_t descriptor_k(uint32_t address) { return (uint64_t)((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62; }
DRG_DEVICE uint64_t descriptor_mn(uint32_t address, uint32_t next64) {
  return (uint64_t)((address & 0x3ffff) >> 4) | (uint64_t)(next64 >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

template <int N> DRG_DEVICE void wgmma_pin([[maybe_unused]] float (&d)[N]) {
#ifndef DRG_EMULATE
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
#endif
}
DRG_DEVICE void wgmma_fence() {
#ifndef DRG_EMULATE
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
DRG_DEVICE void wgmma_commit(DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::wgmma_commit({"wgmma_commit", file, line});
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int N> DRG_DEVICE void wgmma_wait(DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::wgmma_wait(N, {"wgmma_wait", file, line});
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#endif
}

#ifndef DRG_EMULATE
// Operand lists of the 32 widths: D_<N> the accumulators, T_<N> their place holders.
#define DRG_D(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define DRG_D_8 DRG_D(0)
#define DRG_T_8 "%0,%1,%2,%3"
#define DRG_D_16 DRG_D_8, DRG_D(4)
#define DRG_T_16 DRG_T_8 "," "%4,%5,%6,%7"
#define DRG_D_24 DRG_D_16, DRG_D(8)
#define DRG_T_24 DRG_T_16 "," "%8,%9,%10,%11"
#define DRG_D_32 DRG_D_24, DRG_D(12)
#define DRG_T_32 DRG_T_24 "," "%12,%13,%14,%15"
#define DRG_D_40 DRG_D_32, DRG_D(16)
#define DRG_T_40 DRG_T_32 "," "%16,%17,%18,%19"
#define DRG_D_48 DRG_D_40, DRG_D(20)
#define DRG_T_48 DRG_T_40 "," "%20,%21,%22,%23"
#define DRG_D_56 DRG_D_48, DRG_D(24)
#define DRG_T_56 DRG_T_48 "," "%24,%25,%26,%27"
#define DRG_D_64 DRG_D_56, DRG_D(28)
#define DRG_T_64 DRG_T_56 "," "%28,%29,%30,%31"
#define DRG_D_72 DRG_D_64, DRG_D(32)
#define DRG_T_72 DRG_T_64 "," "%32,%33,%34,%35"
#define DRG_D_80 DRG_D_72, DRG_D(36)
#define DRG_T_80 DRG_T_72 "," "%36,%37,%38,%39"
#define DRG_D_88 DRG_D_80, DRG_D(40)
#define DRG_T_88 DRG_T_80 "," "%40,%41,%42,%43"
#define DRG_D_96 DRG_D_88, DRG_D(44)
#define DRG_T_96 DRG_T_88 "," "%44,%45,%46,%47"
#define DRG_D_104 DRG_D_96, DRG_D(48)
#define DRG_T_104 DRG_T_96 "," "%48,%49,%50,%51"
#define DRG_D_112 DRG_D_104, DRG_D(52)
#define DRG_T_112 DRG_T_104 "," "%52,%53,%54,%55"
#define DRG_D_120 DRG_D_112, DRG_D(56)
#define DRG_T_120 DRG_T_112 "," "%56,%57,%58,%59"
#define DRG_D_128 DRG_D_120, DRG_D(60)
#define DRG_T_128 DRG_T_120 "," "%60,%61,%62,%63"
#define DRG_D_136 DRG_D_128, DRG_D(64)
#define DRG_T_136 DRG_T_128 "," "%64,%65,%66,%67"
#define DRG_D_144 DRG_D_136, DRG_D(68)
#define DRG_T_144 DRG_T_136 "," "%68,%69,%70,%71"
#define DRG_D_152 DRG_D_144, DRG_D(72)
#define DRG_T_152 DRG_T_144 "," "%72,%73,%74,%75"
#define DRG_D_160 DRG_D_152, DRG_D(76)
#define DRG_T_160 DRG_T_152 "," "%76,%77,%78,%79"
#define DRG_D_168 DRG_D_160, DRG_D(80)
#define DRG_T_168 DRG_T_160 "," "%80,%81,%82,%83"
#define DRG_D_176 DRG_D_168, DRG_D(84)
#define DRG_T_176 DRG_T_168 "," "%84,%85,%86,%87"
#define DRG_D_184 DRG_D_176, DRG_D(88)
#define DRG_T_184 DRG_T_176 "," "%88,%89,%90,%91"
#define DRG_D_192 DRG_D_184, DRG_D(92)
#define DRG_T_192 DRG_T_184 "," "%92,%93,%94,%95"
#define DRG_D_200 DRG_D_192, DRG_D(96)
#define DRG_T_200 DRG_T_192 "," "%96,%97,%98,%99"
#define DRG_D_208 DRG_D_200, DRG_D(100)
#define DRG_T_208 DRG_T_200 "," "%100,%101,%102,%103"
#define DRG_D_216 DRG_D_208, DRG_D(104)
#define DRG_T_216 DRG_T_208 "," "%104,%105,%106,%107"
#define DRG_D_224 DRG_D_216, DRG_D(108)
#define DRG_T_224 DRG_T_216 "," "%108,%109,%110,%111"
#define DRG_D_232 DRG_D_224, DRG_D(112)
#define DRG_T_232 DRG_T_224 "," "%112,%113,%114,%115"
#define DRG_D_240 DRG_D_232, DRG_D(116)
#define DRG_T_240 DRG_T_232 "," "%116,%117,%118,%119"
#define DRG_D_248 DRG_D_240, DRG_D(120)
#define DRG_T_248 DRG_T_240 "," "%120,%121,%122,%123"
#define DRG_D_256 DRG_D_248, DRG_D(124)
#define DRG_T_256 DRG_T_248 "," "%124,%125,%126,%127"

template <typename T, int N> struct WgmmaWidth;   // the instructions of one width; R0 to R6: numbers of the operands after d
#define DRG_SS(N, TYPE, R0, R1, R2, R3, R4)                                                                                  \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE \
               " {" DRG_T_##N "}, %" #R0 ", %" #R1 ", p, 1, 1, %" #R3 ", %" #R4 ";\n}\n"                                      \
               : DRG_D_##N : "l"(a), "l"(b), "r"(scale_d), "n"(A_MN), "n"(B_MN) : "memory")
#define DRG_RS(N, TYPE, R0, R1, R2, R3, R4, R5, R6)                                                                          \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE \
               " {" DRG_T_##N "}, {%" #R0 ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #R4 ", p, 1, 1, %" #R6 ";\n}\n"                \
               : DRG_D_##N : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(B_MN) : "memory")
#define DRG_WGMMA_TYPE(T, TYPE, N, R0, R1, R2, R3, R4, R5, R6)                                                       \
  template <> struct WgmmaWidth<T, N> {                                                                              \
    template <int A_MN, int B_MN> DRG_DEVICE void ss(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) {       \
      DRG_SS(N, TYPE, R0, R1, R2, R3, R4);                                                                           \
    }                                                                                                                \
    template <int B_MN> DRG_DEVICE void rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) {     \
      DRG_RS(N, TYPE, R0, R1, R2, R3, R4, R5, R6);                                                                   \
    }                                                                                                                \
  };
#define DRG_WGMMA(N, R0, R1, R2, R3, R4, R5, R6)                    \
  DRG_WGMMA_TYPE(bf16, "bf16", N, R0, R1, R2, R3, R4, R5, R6)       \
  DRG_WGMMA_TYPE(f16, "f16", N, R0, R1, R2, R3, R4, R5, R6)
DRG_WGMMA(8, 4, 5, 6, 7, 8, 9, 10)
DRG_WGMMA(16, 8, 9, 10, 11, 12, 13, 14)
DRG_WGMMA(24, 12, 13, 14, 15, 16, 17, 18)
DRG_WGMMA(32, 16, 17, 18, 19, 20, 21, 22)
DRG_WGMMA(40, 20, 21, 22, 23, 24, 25, 26)
DRG_WGMMA(48, 24, 25, 26, 27, 28, 29, 30)
DRG_WGMMA(56, 28, 29, 30, 31, 32, 33, 34)
DRG_WGMMA(64, 32, 33, 34, 35, 36, 37, 38)
DRG_WGMMA(72, 36, 37, 38, 39, 40, 41, 42)
DRG_WGMMA(80, 40, 41, 42, 43, 44, 45, 46)
DRG_WGMMA(88, 44, 45, 46, 47, 48, 49, 50)
DRG_WGMMA(96, 48, 49, 50, 51, 52, 53, 54)
DRG_WGMMA(104, 52, 53, 54, 55, 56, 57, 58)
DRG_WGMMA(112, 56, 57, 58, 59, 60, 61, 62)
DRG_WGMMA(120, 60, 61, 62, 63, 64, 65, 66)
DRG_WGMMA(128, 64, 65, 66, 67, 68, 69, 70)
DRG_WGMMA(136, 68, 69, 70, 71, 72, 73, 74)
DRG_WGMMA(144, 72, 73, 74, 75, 76, 77, 78)
DRG_WGMMA(152, 76, 77, 78, 79, 80, 81, 82)
DRG_WGMMA(160, 80, 81, 82, 83, 84, 85, 86)
DRG_WGMMA(168, 84, 85, 86, 87, 88, 89, 90)
DRG_WGMMA(176, 88, 89, 90, 91, 92, 93, 94)
DRG_WGMMA(184, 92, 93, 94, 95, 96, 97, 98)
DRG_WGMMA(192, 96, 97, 98, 99, 100, 101, 102)
DRG_WGMMA(200, 100, 101, 102, 103, 104, 105, 106)
DRG_WGMMA(208, 104, 105, 106, 107, 108, 109, 110)
DRG_WGMMA(216, 108, 109, 110, 111, 112, 113, 114)
DRG_WGMMA(224, 112, 113, 114, 115, 116, 117, 118)
DRG_WGMMA(232, 116, 117, 118, 119, 120, 121, 122)
DRG_WGMMA(240, 120, 121, 122, 123, 124, 125, 126)
DRG_WGMMA(248, 124, 125, 126, 127, 128, 129, 130)
DRG_WGMMA(256, 128, 129, 130, 131, 132, 133, 134)
#undef DRG_WGMMA
#undef DRG_WGMMA_TYPE
#endif

template <typename T, int N, int A_MN = 0, int B_MN = 0> DRG_DEVICE void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d, DRG_HERE) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma is 8, 16 .. 256 columns wide");
#ifdef DRG_EMULATE
  constexpr auto element = std::is_same<T, bf16>::value ? drg::emulate::Element::bf16 : drg::emulate::Element::f16;
  drg::emulate::wgmma({element, N, A_MN != 0, B_MN != 0, scale_d != 0, nullptr, a, b, d}, {"wgmma_ss", file, line});
#else
  WgmmaWidth<T, N>::template ss<A_MN, B_MN>(d, a, b, scale_d);
#endif
}
template <typename T, int N, int B_MN = 0> DRG_DEVICE void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d, DRG_HERE) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma is 8, 16 .. 256 columns wide");
#ifdef DRG_EMULATE
  constexpr auto element = std::is_same<T, bf16>::value ? drg::emulate::Element::bf16 : drg::emulate::Element::f16;
  drg::emulate::wgmma({element, N, false, B_MN != 0, scale_d != 0, a, 0, b, d}, {"wgmma_rs", file, line});
#else
  WgmmaWidth<T, N>::template rs<B_MN>(d, a, b, scale_d);
#endif
}

#endif  // sm_90a
