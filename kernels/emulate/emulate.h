// emulate.h: what nvcc gives a kernel, for a C++17 compiler on the CPU (-DDRG_EMULATE). Only drg.cuh includes it.
// Every thread of a block is a fiber. A fiber runs until it has to wait for others, so a missing barrier shows as a wrong result.
// Host side: src/device/emulate.rs, tests/emulator.rs
// Checked:   deadlocks, divergent warp operations, writes past shared arrays and device allocations, unaligned and stray shared
//            addresses, asynchronous copies that are waited for too late or whose buffer is released too early.
// Not:       time, caches, memory-model fences, races between blocks (they run one after another, in a shuffled order), the
//            tensor cores' truncating additions (here: f32, round to nearest), reads outside an allocation (they give NaN).
// Seed:      environment variable DRG_EMULATE_SEED, a whole number; the same seed gives the same schedule.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static const
#define __align__(n) __attribute__((aligned(n)))

// Where the caller of a primitive stands: defaults of a primitive's last arguments, for reports.
#define DRG_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

struct int2 { int x, y; };
struct int3 { int x, y, z; };
struct int4 { int x, y, z, w; };
struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
struct uchar4 { unsigned char x, y, z, w; };
struct float2 { float x, y; };
struct float3 { float x, y, z; };
struct float4 { float x, y, z, w; };
struct double2 { double x, y; };
struct dim3 { unsigned x, y, z; };
// Opaque on the device as well; drg_emulate_tensor_map fills it.
struct alignas(64) CUtensorMap { uint64_t opaque[16]; };

inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// __thread, not thread_local: no initialisation check at each access.
extern __thread uint3 threadIdx, blockIdx;
extern __thread dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace drg {
namespace emulate {

struct Place {
  const char* what;
  const char* file;
  int line;
};

// Ends the launch with a message: abandons every fiber and makes run return 1.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Runs call(body) for each thread of the grid; 0, or 1 with drg_emulate_message set.
int run_threads(const char* name, const unsigned* grid, unsigned block, unsigned shared_bytes, void (*call)(void*), void* body);
template <typename F> int run(const char* name, const unsigned* grid, unsigned block, unsigned shared_bytes, F body) {
  return run_threads(name, grid, block, shared_bytes, [](void* f) { (*static_cast<F*>(f))(); }, &body);
}

void* shared_array(const void* site, const char* name, size_t bytes, size_t alignment);
void* shared_dynamic();
uint32_t shared_address(const void* pointer);
// Host pointer to `bytes` bytes at a shared address; fails when they are not all inside one array.
uint8_t* shared_at(uint32_t address, uint32_t bytes, const char* what);

// threads = 0: all that have not returned. wait = false: bar.arrive.
void barrier(int id, int threads, bool wait, Place place);

// Called by each lane of `mask`; the last to arrive calls complete(pointers of all 32 lanes, mask), then all go on.
using Complete = void (*)(void* const* lanes, uint32_t mask);
void collective(uint32_t mask, void* lane, Complete complete, Place place);

void copy_async(uint32_t destination, const void* source, int bytes, int source_bytes);
void copy_commit();
void copy_wait(int groups);

void load_matrices(uint32_t address, uint32_t* registers, int count, bool transposed, Place place);
void store_matrices(uint32_t address, const uint32_t* registers, int count, bool transposed, Place place);

enum class Element { bf16, f16, tf32 };
void multiply(Element element, float* d, const uint32_t* a, uint32_t b0, uint32_t b1, Place place);

void mbarrier_init(uint32_t address, int count);
void mbarrier_arrive(uint32_t address, int bytes);
void mbarrier_wait(uint32_t address, int parity, Place place);
void tensor_load(uint32_t destination, const CUtensorMap* map, uint32_t barrier, int rank, const int* coordinates);
void tensor_store(const CUtensorMap* map, uint32_t source, int rank, const int* coordinates);
void tensor_check(const CUtensorMap* map, int rank);
void bulk_commit();
void bulk_wait(int groups);

struct Wgmma {
  Element element;
  int n;
  bool a_transposed, b_transposed, accumulate;
  const uint32_t* a_registers;   // null: A comes from shared memory
  uint64_t a, b;
  float* d;
};
void wgmma(const Wgmma& operation, Place place);
void wgmma_commit(Place place);
void wgmma_wait(int groups, Place place);

inline float bits_to_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
inline uint32_t float_to_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

inline float bf16_to_float(uint16_t v) { return bits_to_float((uint32_t)v << 16); }
inline uint16_t float_to_bf16(float f) {
  const uint32_t u = float_to_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
inline float f16_to_float(uint16_t v) {
  const uint32_t magnitude = (uint32_t)(v & 0x7fff) << 13, sign = (uint32_t)(v & 0x8000) << 16;
  // 2^112 moves the exponent's bias from 15 to 127, subnormal numbers included
  const uint32_t u = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : float_to_bits(bits_to_float(magnitude) * bits_to_float(0x77800000u));
  return bits_to_float(u | sign);
}
inline uint16_t float_to_f16(float f) {
  const uint32_t u = float_to_bits(f), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fff;
  if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {   // subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
    return (uint16_t)(sign | (float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u));
  }
  return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13));
}
// cvt.rna.tf32: to nearest, ties away from zero
inline uint32_t float_to_tf32(float f) {
  const uint32_t u = float_to_bits(f);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

template <typename T> struct Shuffle {
  T in, out;
  int source, width;
};
enum class Way { direct, exclusive_or, down, up };

template <typename T, Way WAY> void shuffle_complete(void* const* lanes, uint32_t mask) {
  for (int lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    auto* me = static_cast<Shuffle<T>*>(lanes[lane]);
    const int first = lane & ~(me->width - 1), last = first + me->width - 1;
    int from = WAY == Way::direct ? first | (me->source & (me->width - 1)) : WAY == Way::exclusive_or ? lane ^ me->source : WAY == Way::down ? lane + me->source : lane - me->source;
    if (WAY != Way::direct && (from > last || (WAY == Way::up && from < first))) from = lane;
    if (from < 0 || !(mask >> from & 1)) fail("lane %d reads lane %d in a shuffle, which its mask %08x leaves out", lane, from, mask);
    me->out = static_cast<Shuffle<T>*>(lanes[from])->in;
  }
}
template <Way WAY, typename T> T shuffle(uint32_t mask, T value, int source, int width, Place place) {
  static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles move 4 or 8 byte numbers");
  Shuffle<T> lane{value, value, source, width};
  collective(mask, &lane, shuffle_complete<T, WAY>, place);
  return lane.out;
}

struct Vote {
  uint32_t in, out;
};
template <int KIND> void vote_complete(void* const* lanes, uint32_t mask) {   // 0 ballot, 1 sum
  uint32_t result = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (mask >> lane & 1) result += KIND ? static_cast<Vote*>(lanes[lane])->in : static_cast<Vote*>(lanes[lane])->in << lane;
  }
  for (int lane = 0; lane < 32; lane++) {
    if (mask >> lane & 1) static_cast<Vote*>(lanes[lane])->out = result;
  }
}
template <int KIND> uint32_t vote(uint32_t mask, uint32_t value, Place place) {
  Vote lane{value, 0};
  collective(mask, &lane, vote_complete<KIND>, place);
  return lane.out;
}

template <typename T> constexpr bool atomic_type = std::is_same<T, int>::value || std::is_same<T, unsigned>::value || std::is_same<T, unsigned long long>::value;

}  // namespace emulate
}  // namespace drg

// Shared memory: the only two ways to declare it (plain __shared__ does not compile here). T may be an array type with a name.
#define SHARED(T, name, count)   \
  static char drg_site_##name;   \
  T* const name = static_cast<T*>(drg::emulate::shared_array(&drg_site_##name, #name, sizeof(T) * (count), alignof(T)))
#define DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(drg::emulate::shared_dynamic())

inline void __syncthreads(DRG_HERE) { drg::emulate::barrier(0, 0, true, {"__syncthreads", file, line}); }
inline void __syncwarp(uint32_t mask = 0xffffffffu, DRG_HERE) { drg::emulate::collective(mask, nullptr, nullptr, {"__syncwarp", file, line}); }
template <typename T> T __shfl_sync(uint32_t mask, T value, int source, int width = 32, DRG_HERE) {
  return drg::emulate::shuffle<drg::emulate::Way::direct>(mask, value, source, width, {"__shfl_sync", file, line});
}
template <typename T> T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, DRG_HERE) {
  return drg::emulate::shuffle<drg::emulate::Way::exclusive_or>(mask, value, lanes, width, {"__shfl_xor_sync", file, line});
}
template <typename T> T __shfl_down_sync(uint32_t mask, T value, unsigned by, int width = 32, DRG_HERE) {
  return drg::emulate::shuffle<drg::emulate::Way::down>(mask, value, (int)by, width, {"__shfl_down_sync", file, line});
}
template <typename T> T __shfl_up_sync(uint32_t mask, T value, unsigned by, int width = 32, DRG_HERE) {
  return drg::emulate::shuffle<drg::emulate::Way::up>(mask, value, (int)by, width, {"__shfl_up_sync", file, line});
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, DRG_HERE) { return drg::emulate::vote<0>(mask, predicate != 0, {"__ballot_sync", file, line}); }
inline int __any_sync(uint32_t mask, int predicate, DRG_HERE) { return drg::emulate::vote<0>(mask, predicate != 0, {"__any_sync", file, line}) != 0; }
inline int __all_sync(uint32_t mask, int predicate, DRG_HERE) { return drg::emulate::vote<0>(mask, predicate != 0, {"__all_sync", file, line}) == mask; }
inline unsigned __reduce_add_sync(uint32_t mask, unsigned value, DRG_HERE) { return drg::emulate::vote<1>(mask, value, {"__reduce_add_sync", file, line}); }
inline int __reduce_add_sync(uint32_t mask, int value, DRG_HERE) { return (int)drg::emulate::vote<1>(mask, (uint32_t)value, {"__reduce_add_sync", file, line}); }

// Atomics: whole numbers only. Sums of floats would depend on the order, so they do not compile.
#define DRG_ATOMIC(name, expression)                                                                          \
  template <typename T> T name(T* address, std::common_type_t<T> value) {                                     \
    static_assert(drg::emulate::atomic_type<T>, "atomics take int, unsigned and unsigned long long only");    \
    const T old = *address;                                                                                   \
    *address = (expression);                                                                                  \
    return old;                                                                                               \
  }
DRG_ATOMIC(atomicAdd, old + value)
DRG_ATOMIC(atomicMax, old > value ? old : value)
DRG_ATOMIC(atomicMin, old < value ? old : value)
DRG_ATOMIC(atomicExch, value)
DRG_ATOMIC(atomicOr, old | value)
DRG_ATOMIC(atomicAnd, old & value)
#undef DRG_ATOMIC
template <typename T> T atomicCAS(T* address, std::common_type_t<T> compare, std::common_type_t<T> value) {
  static_assert(drg::emulate::atomic_type<T>, "atomics take int, unsigned and unsigned long long only");
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap(DRG_HERE) { drg::emulate::fail("__trap at %s:%d", file, line); }
template <typename T> T __ldg(const T* p) { return *p; }
template <typename T> T __ldcs(const T* p) { return *p; }
template <typename T> void __stcs(T* p, T value) { *p = value; }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float __uint_as_float(unsigned u) { return drg::emulate::bits_to_float(u); }
inline unsigned __float_as_uint(float f) { return drg::emulate::float_to_bits(f); }
inline float __int_as_float(int i) { return drg::emulate::bits_to_float((uint32_t)i); }
inline int __float_as_int(float f) { return (int)drg::emulate::float_to_bits(f); }
inline long long __double_as_longlong(double d) { long long v; memcpy(&v, &d, 8); return v; }
inline double __longlong_as_double(long long v) { double d; memcpy(&d, &v, 8); return d; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
// glibc declares functions of these two names
#define __expf(a) expf(a)
#define __logf(a) logf(a)
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }

extern "C" {
const char* drg_emulate_message();
void* drg_emulate_alloc(size_t bytes);
int drg_emulate_free(void* pointer);
int drg_emulate_check();
int drg_emulate_tensor_map(void* map128, int dtype_bytes, int rank, void* address, const uint64_t* dims, const uint64_t* strides_bytes, const uint32_t* box, int swizzle_bytes);
}
