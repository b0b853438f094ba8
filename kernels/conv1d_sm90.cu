// conv1d_sm90.cu: dilated 1-D convolution of stride 1 on the tensor cores of compute capability 9.0: forward, changes, input gradients.
// Host side: src/ops/conv1d/sm90.rs
// Maths:     y[s, p, :] = bias + sum over taps t of x[s, p + t dilation - pad, :] w[tap_first + t tap_step]^T, rows outside of 0..l are zero.
//            Split: x and w are each the sum of two bf16 numbers, high + low (16 bits); of the four products low low is left out
// Layout:    channels last, 16-bit operands that the `pack` entries make of f32: x [parts, sequences, l, cp], w [parts, taps, n, cp],
//            channels padded with zeros to cp, a multiple of 8; part 1 is the low one. bias [n] or null, y [sequences, per, n], f32.
//            x_map: (64 channels, box_rows, box_sequences) of (cp, l, parts * sequences); w_map: (64, N, 1) of (cp, n, parts * taps);
//            both swizzled by 128 bytes
// Entries:   conv1d_fwd<N>_<dtype>_sm90: bf16, f16, split; grid any (persistent), block 384
//            <N>                      tile       stage
//            64, 128, 160             256 x N    32 KB + N / 8 KB    dynamic shared memory: stages * stage, 1 to 8 stages
//            192, 256                 128 x N    16 KB + N / 8 KB
//            64, 128, 160, 192 split  128 x N    32 KB + N / 4 KB
//            conv1d_pack_rows_<dtype>_sm90     [rows, c] to [parts, rows, cp], any grid and block
//            conv1d_pack_weight_<dtype>_sm90   [taps, c, n] to [parts, taps, n, cp], grid (ceil(cp / 64), ceil(n / 32), taps), block 256
// Method:    a warpgroup whose one thread asks for bulk copies (an operand's slice of 64 channels of one tap) and two that multiply;
//            a ring of stages with two barriers each. A tile is box_sequences times box_rows rows.
// Limits:    finite numbers (infinite ones become NaN when split); box_rows * box_sequences <= rows of the tile; positions and rows below
//            2^31; c, n, dilation, pads any
// Order:     k = (tap, channel) in steps of 16, whatever the tile; taps whose rows all lie outside of a tile's sequences add zeros and are
//            left out. Split: the products of 64 channels of one tap, small ones first, go into the f32 sum by an ordinary addition,
//            because the tensor cores' own additions cut bits off, which after thousands of them shows.
// Measured:  not on a GPU yet
#include "sm90.cuh"

namespace {

constexpr int MAX_STAGES = 8;
constexpr int ROW = 128;              // bytes of 64 channels
constexpr int CONSUMERS = 2;          // warpgroups that multiply
constexpr int STEPS = 4;              // products of 16 k in a slice of 64 channels

// The convolution, as the entries take it.
struct Shape {
  int per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences;
};

// What a block computes next.
struct Tile {
  int column, position, sequence, first_tap, last_tap;
};

DRG_DEVICE int tiles(const Shape& s, int bn) { return ceil_div(s.per, s.box_rows) * ceil_div(s.sequences, s.box_sequences) * ceil_div(s.n, bn); }

// Neighbours in columns follow each other, so that the rows they share are in the second-level cache. At least one tap: sums begin with it.
DRG_DEVICE Tile tile_at(const Shape& s, int bn, int index) {
  const int columns = ceil_div(s.n, bn), along = ceil_div(s.per, s.box_rows), rows = index / columns;
  Tile t;
  t.column = (index - rows * columns) * bn;
  t.sequence = rows / along * s.box_sequences;
  t.position = rows % along * s.box_rows;
  const int least = t.position - s.pad, most = min(t.position + s.box_rows, s.per) - 1 - s.pad;
  t.first_tap = min(most < 0 ? ceil_div(-most, s.dilation) : 0, s.taps - 1);
  t.last_tap = max(least < s.l ? min((s.l - 1 - least) / s.dilation + 1, s.taps) : 0, t.first_tap + 1);
  return t;
}

// A stage: parts of the rows, then parts of the weights. Barriers `full` (the copies have arrived) and `empty` (all warps have read).
template <int BN, int MT, int PARTS> struct Ring {
  static constexpr int BM = CONSUMERS * 64 * MT, A = BM * ROW, B = BN * ROW, STAGE = PARTS * (A + B);
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
template <int BN, int MT, int PARTS> DRG_DEVICE void produce(const Shape& s, Ring<BN, MT, PARTS> ring, const CUtensorMap& x_map, const CUtensorMap& w_map) {
  tensor_map_prefetch(x_map);
  tensor_map_prefetch(w_map);
  ring.parity = 1;   // stages begin empty
  const int count = tiles(s, BN), bytes = PARTS * (s.box_rows * s.box_sequences + BN) * ROW;
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const Tile t = tile_at(s, BN, index);
    for (int tap = t.first_tap; tap < t.last_tap; tap++) {
      const int position = t.position + tap * s.dilation - s.pad, weight = s.tap_first + tap * s.tap_step;
      for (int slice = 0; slice < s.slices; slice++) {
        const uint32_t full = ring.full + 8 * ring.stage;
        mbarrier_wait(ring.empty + 8 * ring.stage, ring.parity);
        mbarrier_expect(full, bytes);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          tensor_load(ring.a(part), x_map, full, 64 * slice, position, part * s.sequences + t.sequence);
          tensor_load(ring.b(part), w_map, full, 64 * slice, t.column, part * s.weight_taps + weight);
        }
        ring.next();
      }
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

// Sums of 16 rows, of which the warp's first is `first` in the tile, to y. Neighbouring lanes exchange halves of two blocks of 8 columns, so
// that each has 4 columns in a row.
template <int BN, typename Y> DRG_DEVICE void write(const float (&sum)[BN / 2], const Shape& s, const Tile& t, int first, const float* bias, Y* y) {
  const int lane = lane_index();
  const bool odd = lane & 1, wide = s.n % 4 == 0 && aligned16(bias, y);
  Y* row[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = first + (lane >> 2) + 8 * h, of_box = i / s.box_rows, sequence = t.sequence + of_box, position = t.position + i - of_box * s.box_rows;
    const bool exists = of_box < s.box_sequences && sequence < s.sequences && position < s.per;
    row[h] = exists ? y + ((long long)sequence * s.per + position) * s.n : nullptr;
  }
#pragma unroll
  for (int j = 0; j < BN / 8; j += 2) {
    const int column = t.column + 8 * (j + odd) + 4 * (lane >> 1 & 1), left = s.n - column;
    float4 b = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (bias && wide && left > 0) b = load4(bias + column);
    if (bias && !wide) {
      if (left > 0) b.x = bias[column];
      if (left > 1) b.y = bias[column + 1];
      if (left > 2) b.z = bias[column + 2];
      if (left > 3) b.w = bias[column + 3];
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float x0 = sum[4 * j + 2 * h], x1 = sum[4 * j + 2 * h + 1], z0 = sum[4 * j + 4 + 2 * h], z1 = sum[4 * j + 5 + 2 * h];
      const float in0 = __shfl_xor_sync(0xffffffffu, odd ? x0 : z0, 1), in1 = __shfl_xor_sync(0xffffffffu, odd ? x1 : z1, 1);
      const float4 v = make_float4((odd ? in0 : x0) + b.x, (odd ? in1 : x1) + b.y, (odd ? z0 : in0) + b.z, (odd ? z1 : in1) + b.w);
      if (!row[h]) continue;
      if (wide) {
        if (left > 0) store4(row[h] + column, v);
        continue;
      }
      if (left > 0) row[h][column] = from_float<Y>(v.x);
      if (left > 1) row[h][column + 1] = from_float<Y>(v.y);
      if (left > 2) row[h][column + 2] = from_float<Y>(v.z);
      if (left > 3) row[h][column + 3] = from_float<Y>(v.w);
    }
  }
}

template <typename T, int BN, int MT, int PARTS, typename Y>
DRG_DEVICE void convolve(const CUtensorMap& x_map, const CUtensorMap& w_map, const float* bias, Y* y, const Shape& s, int stages) {
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
    if (threadIdx.x == 0) produce(s, ring, x_map, w_map);
  } else {
    registers_more<240>();
    const int count = tiles(s, BN), warp = warp_index() & 3;
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      const Tile t = tile_at(s, BN, index);
      float sum[MT][BN / 2];
      multiply<T, BN>(sum, (t.last_tap - t.first_tap) * s.slices, ring, group - 1);
#pragma unroll
      for (int m = 0; m < MT; m++) write<BN>(sum[m], s, t, ((group - 1) * MT + m) * 64 + 16 * warp, bias, y);
    }
  }
}

// x as the sum of `parts` numbers, to y and, apart by `apart`, behind it.
template <typename T> DRG_DEVICE void split8(const float (&x)[8], T* y, long long apart, int parts) {
  Pack<T, 8> high, low;
#pragma unroll
  for (int e = 0; e < 8; e++) {
    high.v[e] = from_float<T>(x[e]);
    low.v[e] = from_float<T>(x[e] - to_float(high.v[e]));
  }
  *reinterpret_cast<Pack<T, 8>*>(y) = high;
  if (parts > 1) *reinterpret_cast<Pack<T, 8>*>(y + apart) = low;
}

template <typename T> DRG_DEVICE void pack_rows(const float* x, T* y, long long rows, int c, int cp, int parts) {
  const bool wide = c % 4 == 0 && aligned16(x);
  each_cell(rows, cp / 8, [=](long long row, int piece) {
    const float* from = x + row * c + 8 * piece;
    const int left = c - 8 * piece;
    float v[8] = {};
    if (wide) {
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        if (left <= i) continue;
        const float4 four = load4(from + i);
        v[i] = four.x;
        v[i + 1] = four.y;
        v[i + 2] = four.z;
        v[i + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = i < left ? from[i] : 0.0f;
    }
    split8(v, y + row * cp + 8 * piece, rows * cp, parts);
  });
}

// 64 channels x 32 outputs of one tap.
template <typename T> DRG_DEVICE void pack_weight(const float* w, T* y, int c, int n, int cp, int parts) {
  using Row = float[33];
  SHARED(Row, turned, 64);
  const int channel = blockIdx.x * 64, output = blockIdx.y * 32, tap = blockIdx.z, lane = lane_index();
#pragma unroll
  for (int i = warp_index(); i < 64; i += 8) {
    const bool exists = channel + i < c && output + lane < n;
    turned[i][lane] = exists ? w[((long long)tap * c + channel + i) * n + output + lane] : 0.0f;
  }
  __syncthreads();
  const int o = threadIdx.x / 8, first = threadIdx.x % 8 * 8;
  if (output + o >= n || channel + first >= cp) return;
  float v[8];
#pragma unroll
  for (int e = 0; e < 8; e++) v[e] = turned[first + e][o];
  split8(v, y + ((long long)tap * n + output + o) * cp + channel + first, (long long)gridDim.z * n * cp, parts);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 64, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 128, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 160, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 192, 1, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 256, 1, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<f16, 64, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<f16, 128, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<f16, 160, 2, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<f16, 192, 1, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<f16, 256, 1, 1>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 64, 1, 2>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 128, 1, 2>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 160, 1, 2>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  convolve<bf16, 192, 1, 2>(x_map, w_map, bias, y, {per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences}, stages);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_bf16_sm90(const float* __restrict__ x, bf16* __restrict__ y, long long rows, int c, int cp, int parts) {
  pack_rows(x, y, rows, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_bf16_sm90(const float* __restrict__ w, bf16* __restrict__ y, int c, int n, int cp, int parts) {
  pack_weight(w, y, c, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_f16_sm90(const float* __restrict__ x, f16* __restrict__ y, long long rows, int c, int cp, int parts) {
  pack_rows(x, y, rows, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_f16_sm90(const float* __restrict__ w, f16* __restrict__ y, int c, int n, int cp, int parts) {
  pack_weight(w, y, c, n, cp, parts);
}
