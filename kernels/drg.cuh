// drg.cuh: the header of every kernel. nvcc compiles it for the device; with -DDRG_EMULATE a C++17 compiler does, for the CPU.
// Host side: build.rs, src/device
//
// Element types   bf16, f16 (16 bits; under nvcc __nv_bfloat16, __half), float, double
//   float to_float(x)   T from_float<T>(float)             to nearest even; double passes through to_float as float
//   uint32_t pack2<T>(a, b)   float2 unpack2<T>(uint32_t)    two bf16 or f16, the first in the low half
//   void load<V>(const T* p, float (&v)[V])   void store(T* p, const float (&v)[V])   V elements, p aligned to min(16, V * sizeof(T))
//   float4 load4(const T* p)   void store4(T* p, float4 v)     four elements
//   Pack<T, N>                                               N elements moved at once, unconverted; bool aligned16(pointers...)
// Shared memory (the only declarations the emulator knows)
//   SHARED(T, name, count);          T* name: `count` T, aligned to 16 bytes; T may be a named array type: using Row = float[33];
//   DYNAMIC_SHARED(T, name);         T* name: the launch's dynamic shared memory, aligned to 1024 bytes
//   uint32_t shared_address(p)       32-bit address of a pointer to shared memory, for mma.cuh and sm90.cuh
//   T load_shared<T>(address)   void store_shared<T>(address, value)
// Reductions      in a fixed order; every lane or thread gets the result
//   T warp_sum(v)   T warp_max(v)                              all 32 lanes must call
//   T block_sum<THREADS>(v)   T block_max<THREADS>(v)          all THREADS (multiple of 32) threads must call; two barriers
// Helpers         T ceil_div(a, b)   T round_up(a, b)   int lane_index()   int warp_index()   To bit_cast<To>(from)
//                 each_cell(rows, columns, f(long long row, int column))   a grid-stride loop over a matrix
// Barriers        __syncthreads(), __syncwarp(mask); named_barrier_sync(id, threads), named_barrier_arrive(id, threads), id 1 to 15
//
// Also known to the emulator: __shfl_sync, __shfl_xor_sync, __shfl_up_sync, __shfl_down_sync, __ballot_sync, __any_sync, __all_sync,
// __reduce_add_sync; atomicAdd, Max, Min, Exch, Or, And, CAS on int, unsigned, unsigned long long (never on floats); __ldg, __ldcs,
// __stcs; __umulhi, __popc, __clz, __ffs, bit casts such as __float_as_uint; min, max; __fadd_rn and the like; __expf, __logf,
// __fdividef, rsqrtf; CUDA's vector types and make_ functions. #pragma unroll and __launch_bounds__ are ignored.
#pragma once

#ifdef DRG_EMULATE
#include "emulate/emulate.h"
struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };
#else
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
using bf16 = __nv_bfloat16;
using f16 = __half;
#define SHARED(T, name, count) __shared__ __align__(16) T name[count]
#define DYNAMIC_SHARED(T, name)                                \
  extern __shared__ __align__(1024) uint8_t drg_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(drg_dynamic_shared)
#define DRG_HERE int = 0
#endif

#define DRG_DEVICE static __device__ __forceinline__

template <typename T> DRG_DEVICE T ceil_div(T a, T b) { return (a + b - 1) / b; }
template <typename T> DRG_DEVICE T round_up(T a, T b) { return (a + b - 1) / b * b; }
DRG_DEVICE int lane_index() { return (int)(threadIdx.x & 31); }
DRG_DEVICE int warp_index() { return (int)(threadIdx.x >> 5); }

DRG_DEVICE float to_float(float x) { return x; }
DRG_DEVICE float to_float(double x) { return (float)x; }
#ifdef DRG_EMULATE
DRG_DEVICE float to_float(bf16 x) { return drg::emulate::bf16_to_float(x.bits); }
DRG_DEVICE float to_float(f16 x) { return drg::emulate::f16_to_float(x.bits); }
#else
DRG_DEVICE float to_float(bf16 x) { return __bfloat162float(x); }
DRG_DEVICE float to_float(f16 x) { return __half2float(x); }
#endif

template <typename T> DRG_DEVICE T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ double from_float<double>(float x) { return x; }
#ifdef DRG_EMULATE
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return {drg::emulate::float_to_bf16(x)}; }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) { return {drg::emulate::float_to_f16(x)}; }
#else
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) { return __float2half_rn(x); }
#endif

// Same bits, another type.
template <typename To, typename From> DRG_DEVICE To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

template <typename T> DRG_DEVICE uint32_t pack2(float a, float b) {
  return bit_cast<uint16_t>(from_float<T>(a)) | (uint32_t)bit_cast<uint16_t>(from_float<T>(b)) << 16;
}
template <typename T> DRG_DEVICE float2 unpack2(uint32_t u) {
  return make_float2(to_float(bit_cast<T>((uint16_t)u)), to_float(bit_cast<T>((uint16_t)(u >> 16))));
}
#ifndef DRG_EMULATE
template <> __device__ __forceinline__ uint32_t pack2<bf16>(float a, float b) { return bit_cast<uint32_t>(__floats2bfloat162_rn(a, b)); }
template <> __device__ __forceinline__ uint32_t pack2<f16>(float a, float b) { return bit_cast<uint32_t>(__floats2half2_rn(a, b)); }
#endif

// N elements that are loaded and stored at once: at most 16 bytes, at an address that is a multiple of its size.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
  static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
  T v[N];
};

// Whether all of the pointers can be read in pieces of 16 bytes.
template <typename... P> DRG_DEVICE bool aligned16(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) | ... | uintptr_t{0}) & 15) == 0;
}

DRG_DEVICE void check_alignment([[maybe_unused]] const void* p, [[maybe_unused]] int bytes) {
#ifdef DRG_EMULATE
  if (reinterpret_cast<uintptr_t>(p) % (uintptr_t)bytes) drg::emulate::fail("a load or store of %d bytes at an address that is not a multiple of it", bytes);
#endif
}

template <int V, typename T> DRG_DEVICE void load(const T* p, float (&v)[V]) {
  constexpr int N = V * sizeof(T) > 16 ? 16 / sizeof(T) : V;
  static_assert(V % N == 0, "V elements must fill whole words");
  check_alignment(p, sizeof(Pack<T, N>));
#pragma unroll
  for (int i = 0; i < V / N; i++) {
    const Pack<T, N> word = reinterpret_cast<const Pack<T, N>*>(p)[i];
#pragma unroll
    for (int e = 0; e < N; e++) v[i * N + e] = to_float(word.v[e]);
  }
}
template <int V, typename T> DRG_DEVICE void store(T* p, const float (&v)[V]) {
  constexpr int N = V * sizeof(T) > 16 ? 16 / sizeof(T) : V;
  static_assert(V % N == 0, "V elements must fill whole words");
  check_alignment(p, sizeof(Pack<T, N>));
#pragma unroll
  for (int i = 0; i < V / N; i++) {
    Pack<T, N> word;
#pragma unroll
    for (int e = 0; e < N; e++) word.v[e] = from_float<T>(v[i * N + e]);
    reinterpret_cast<Pack<T, N>*>(p)[i] = word;
  }
}
template <typename T> DRG_DEVICE float4 load4(const T* p) {
  float v[4];
  load(p, v);
  return make_float4(v[0], v[1], v[2], v[3]);
}
template <typename T> DRG_DEVICE void store4(T* p, float4 x) {
  const float v[4] = {x.x, x.y, x.z, x.w};
  store(p, v);
}

// Calls f(row, column) for all cells of `rows` rows of `columns`, in strides of the grid (x only). Neighbouring threads have
// neighbouring columns; there is one division per thread, not one per cell.
template <typename F> DRG_DEVICE void each_cell(long long rows, int columns, F f) {
  if (columns <= 0) return;
  const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
  const long long row_step = step / columns;
  const int column_step = (int)(step % columns);
  long long row = first / columns;
  int column = (int)(first % columns);
  while (row < rows) {
    f(row, column);
    row += row_step;
    column += column_step;
    if (column >= columns) {
      column -= columns;
      row++;
    }
  }
}

DRG_DEVICE uint32_t shared_address(const void* p) {
#ifdef DRG_EMULATE
  return drg::emulate::shared_address(p);
#else
  return (uint32_t)__cvta_generic_to_shared(p);
#endif
}
template <typename T> DRG_DEVICE T* shared_pointer(uint32_t address) {
#ifdef DRG_EMULATE
  check_alignment(reinterpret_cast<const void*>((uintptr_t)address), sizeof(T));
  return reinterpret_cast<T*>(drg::emulate::shared_at(address, sizeof(T), "an access"));
#else
  return static_cast<T*>(__cvta_shared_to_generic(address));
#endif
}
template <typename T> DRG_DEVICE T load_shared(uint32_t address) { return *shared_pointer<T>(address); }
template <typename T> DRG_DEVICE void store_shared(uint32_t address, T value) { *shared_pointer<T>(address) = value; }

DRG_DEVICE void named_barrier_sync(int id, int threads, DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::barrier(id, threads, true, {"named_barrier_sync", file, line});
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
DRG_DEVICE void named_barrier_arrive(int id, int threads, DRG_HERE) {
#ifdef DRG_EMULATE
  drg::emulate::barrier(id, threads, false, {"named_barrier_arrive", file, line});
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

struct Adding {
  template <typename T> DRG_DEVICE T of(T a, T b) { return a + b; }
};
struct Larger {
  template <typename T> DRG_DEVICE T of(T a, T b) { return max(a, b); }
};
template <class F, typename T> DRG_DEVICE T warp_fold(T v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) v = F::of(v, __shfl_xor_sync(0xffffffffu, v, offset));
  return v;
}
template <class F, int THREADS, typename T> DRG_DEVICE T block_fold(T v) {
  static_assert(THREADS % 32 == 0, "whole warps");
  SHARED(T, partial, THREADS / 32);
  v = warp_fold<F>(v);
  __syncthreads();   // what an earlier call left has been read
  if (lane_index() == 0) partial[warp_index()] = v;
  __syncthreads();
  T all = partial[0];
#pragma unroll
  for (int w = 1; w < THREADS / 32; w++) all = F::of(all, partial[w]);
  return all;
}
template <typename T> DRG_DEVICE T warp_sum(T v) { return warp_fold<Adding>(v); }
template <typename T> DRG_DEVICE T warp_max(T v) { return warp_fold<Larger>(v); }
template <int THREADS, typename T> DRG_DEVICE T block_sum(T v) { return block_fold<Adding, THREADS>(v); }
template <int THREADS, typename T> DRG_DEVICE T block_max(T v) { return block_fold<Larger, THREADS>(v); }
