// gemm_sm90.cuh: tiles of matrix products on the tensor cores of compute capability 9.0; for conv1d_sm90.cu and conv1d_grad_sm90.cu.
// y[m][n] = sum over k of a[m][k] b[n][k], and what follows it (epilogue.cuh); both operands have 16 bits and k runs fastest. A block of 384 threads stays: a
// warpgroup whose one thread asks for bulk copies (64 k of both operands: a stage) and two that multiply, with a ring of stages between them.
// Parts    1: operands are numbers of type T. 2: they are sums of two of these, high + low: of bf16 16 bits with the range of f32, of f16 22
//          bits of numbers that were scaled; of the four products low low is left out.
// Work     what the tiles are:  int count();  Tile at(int index);  int steps(Tile);  Step first(Tile);  void next(Step&);
//          int bytes(): of a stage's copies;  void load<Ring>(ring, maps, part, tile, step, bar): asks for them, to ring.a and ring.b;
//          int column(Tile);  long long row(Tile, int i): the row of y of the tile's row i, -1 if there is none;  int n: columns of y;
//          static constexpr Scaled SCALED: whether sums have been scaled, by powers of two:  int exponent(Tile, int i): what row i of the
//          tile is multiplied by to undo it;  int column_exponent(int c): and column c of y
// Order:   k in steps of 16, whatever the tile. Two parts: the products of a stage, small ones first, go into the f32 sum by an ordinary
//          addition, because the tensor cores' own additions cut bits off, which after thousands of them shows.
#pragma once
#include "epilogue.cuh"
#include "scale.cuh"
#include "sm90.cuh"

namespace gemm {

constexpr int MAX_STAGES = 8;
constexpr int ROW = 128;              // bytes of 64 k
constexpr int CONSUMERS = 2;          // warpgroups that multiply
constexpr int STEPS = 4;              // products of 16 k in a stage

struct Maps {
  const CUtensorMap &a, &b;
};

enum class Scaled { No, Rows, Both };

// A power of two, which alone may lie beyond f32, as two factors.
struct Scale {
  float a, b;
  DRG_DEVICE Scale of(int exponent) { return {power_of_two(exponent / 2), power_of_two(exponent - exponent / 2)}; }
  __device__ __forceinline__ float operator()(float x) const { return x * a * b; }
};

// A stage: parts of the rows, then parts of the weights. Barriers `full` (the copies have arrived) and `empty` (all warps have read).
template <int BN, int MT, int P> struct Ring {
  static constexpr int PARTS = P, BM = CONSUMERS * 64 * MT, A = BM * ROW, B = BN * ROW, STAGE = PARTS * (A + B);
  uint32_t data, full, empty;
  int stages, stage, parity;

  DRG_DEVICE void initialise(uint32_t bars, int stages) {
    for (int i = 0; i < stages; i++) {
      mbarrier_init(bars + 8 * i, 1);
      mbarrier_init(bars + 8 * (MAX_STAGES + i), 4 * CONSUMERS);
    }
    fence_mbarrier_init();
  }
  __device__ __forceinline__ void next() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ __forceinline__ uint32_t a(int part) const { return data + stage * STAGE + part * A; }
  __device__ __forceinline__ uint32_t b(int part) const { return data + stage * STAGE + PARTS * A + part * B; }
};

// One thread asks for everything, as far ahead as there are stages.
template <class Ring, class Work> DRG_DEVICE void produce(const Work& work, Ring ring, const Maps& maps) {
  tensor_map_prefetch(maps.a);
  tensor_map_prefetch(maps.b);
  ring.parity = 1;   // stages begin empty
  const int count = work.count(), bytes = Ring::PARTS * work.bytes();
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const auto tile = work.at(index);
    const int steps = work.steps(tile);
    auto step = work.first(tile);
    for (int i = 0; i < steps; i++) {
      const uint32_t full = ring.full + 8 * ring.stage;
      mbarrier_wait(ring.empty + 8 * ring.stage, ring.parity);
      mbarrier_expect(full, bytes);
#pragma unroll
      for (int part = 0; part < Ring::PARTS; part++) work.load(ring, maps, part, tile, step, full);
      work.next(step);
      ring.next();
    }
  }
}

template <int MT, int N> DRG_DEVICE void pin(float (&sum)[MT][N]) {
#pragma unroll
  for (int m = 0; m < MT; m++) wgmma_pin(sum[m]);
}

// The products of one warpgroup, `group` 0 or 1, with one part; the sums are in the tensor cores.
template <typename T, int BN, int MT> DRG_DEVICE void multiply(float (&sum)[MT][BN / 2], int steps, Ring<BN, MT, 1>& ring, int group) {
  int previous = -1, add = 0;
  for (int step = 0; step < steps; step++) {
    mbarrier_wait(ring.full + 8 * ring.stage, ring.parity);
    const uint64_t a = descriptor_k(ring.a(0) + group * MT * 64 * ROW), b = descriptor_k(ring.b(0));
    pin(sum);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
#pragma unroll
      for (int m = 0; m < MT; m++) wgmma_ss<T, BN>(sum[m], a + m * (64 * ROW / 16) + 2 * k, b + 2 * k, add);
      add = 1;
    }
    wgmma_commit();
    pin(sum);
    wgmma_wait<1>();   // the stage before this one has been read
    if (previous >= 0 && lane_index() == 0) mbarrier_arrive(ring.empty + 8 * previous);
    previous = ring.stage;
    ring.next();
  }
  wgmma_wait<0>();
  pin(sum);
  if (lane_index() == 0) mbarrier_arrive(ring.empty + 8 * previous);
}

// As above, with two parts; the other warpgroup multiplies while this one adds.
template <typename T, int BN> DRG_DEVICE void multiply(float (&sum)[1][BN / 2], int steps, Ring<BN, 1, 2>& ring, int group) {
#pragma unroll
  for (int i = 0; i < BN / 2; i++) sum[0][i] = 0.0f;
  float part[BN / 2];
  for (int step = 0; step < steps; step++) {
    mbarrier_wait(ring.full + 8 * ring.stage, ring.parity);
    const uint64_t high_a = descriptor_k(ring.a(0) + group * 64 * ROW), low_a = descriptor_k(ring.a(1) + group * 64 * ROW);
    const uint64_t high_b = descriptor_k(ring.b(0)), low_b = descriptor_k(ring.b(1));
    wgmma_pin(part);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < STEPS; k++) wgmma_ss<T, BN>(part, low_a + 2 * k, high_b + 2 * k, k > 0);
#pragma unroll
    for (int k = 0; k < STEPS; k++) wgmma_ss<T, BN>(part, high_a + 2 * k, low_b + 2 * k, 1);
#pragma unroll
    for (int k = 0; k < STEPS; k++) wgmma_ss<T, BN>(part, high_a + 2 * k, high_b + 2 * k, 1);
    wgmma_commit();
    wgmma_pin(part);
    wgmma_wait<0>();
    wgmma_pin(part);
    if (lane_index() == 0) mbarrier_arrive(ring.empty + 8 * ring.stage);
#pragma unroll
    for (int i = 0; i < BN / 2; i++) sum[0][i] += part[i];
    ring.next();
  }
}

// Sums of 16 rows, of which the warp's first is `first` in the tile, to where the tail says. Neighbouring lanes exchange halves of two blocks
// of 8 columns, so that each has 4 columns in a row. Residuals of four pieces are on their way at once.
template <int BN, class Work, class Tile, class N>
DRG_DEVICE void write(const float (&sum)[BN / 2], const Work& work, const Tile& tile, int first, const Tail& tail, const N& norm) {
  const int lane = lane_index(), n = work.n;
  const bool odd = lane & 1, wide = in_pieces<4>(tail, norm, n);
  long long row[2];
  int exponent[2];
  Scale scale[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = first + (lane >> 2) + 8 * h;
    row[h] = work.row(tile, i);
    if constexpr (Work::SCALED != Scaled::No) exponent[h] = work.exponent(tile, i);
    if constexpr (Work::SCALED == Scaled::Rows) scale[h] = Scale::of(exponent[h]);
  }
#pragma unroll
  for (int pair = 0; pair < BN / 8; pair += 4) {
    float residual[2][2][4];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int column = work.column(tile) + 8 * (pair + 2 * half + odd) + 4 * (lane >> 1 & 1);
#pragma unroll
      for (int h = 0; h < 2; h++) residual_of(tail, row[h], n, column, wide, residual[half][h]);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int j = pair + 2 * half;
      const Place<4, N> place(tail, norm, n, work.column(tile) + 8 * (j + odd) + 4 * (lane >> 1 & 1), wide);
      int columns[4];
      if constexpr (Work::SCALED == Scaled::Both) {
#pragma unroll
        for (int e = 0; e < 4; e++) columns[e] = work.column_exponent(min(place.column + e, n - 1));
      }
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float x0 = sum[4 * j + 2 * h], x1 = sum[4 * j + 2 * h + 1], z0 = sum[4 * j + 4 + 2 * h], z1 = sum[4 * j + 5 + 2 * h];
        const float in0 = __shfl_xor_sync(0xffffffffu, odd ? x0 : z0, 1), in1 = __shfl_xor_sync(0xffffffffu, odd ? x1 : z1, 1);
        float v[4] = {odd ? in0 : x0, odd ? in1 : x1, odd ? z0 : in0, odd ? z1 : in1};
        if constexpr (Work::SCALED == Scaled::Rows) {
#pragma unroll
          for (int e = 0; e < 4; e++) v[e] = scale[h](v[e]);
        }
        if constexpr (Work::SCALED == Scaled::Both) {
#pragma unroll
          for (int e = 0; e < 4; e++) v[e] = Scale::of(exponent[h] + columns[e])(v[e]);
        }
        place.finish(tail, norm, row[h], residual[half][h], v);
      }
    }
  }
}

template <typename T, int BN, int MT, int PARTS, class Work, class N>
DRG_DEVICE void multiply_all(const Work& work, const Maps& maps, const Tail& tail, const N& norm, int stages) {
  DYNAMIC_SHARED(uint8_t, stage_data);
  SHARED(uint64_t, bars, 2 * MAX_STAGES);
  const uint32_t full = shared_address(bars);
  Ring<BN, MT, PARTS> ring{shared_address(stage_data), full, full + 8 * MAX_STAGES, stages, 0, 0};
  if (threadIdx.x == 0) ring.initialise(full, stages);
  __syncthreads();
  // The same in all lanes, as the compiler sees it: products under a condition that it cannot prove uniform are waited for one by one.
  const int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  if (group == 0) {
    registers_less<24>();
    if (threadIdx.x == 0) produce(work, ring, maps);
  } else {
    registers_more<240>();
    const int count = work.count(), warp = warp_index() & 3;
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      const auto tile = work.at(index);
      float sum[MT][BN / 2];
      multiply<T, BN>(sum, work.steps(tile), ring, group - 1);
#pragma unroll
      for (int m = 0; m < MT; m++) write<BN>(sum[m], work, tile, ((group - 1) * MT + m) * 64 + 16 * warp, tail, norm);
    }
  }
}

}  // namespace gemm
