// stem.cuh: the first layer on packed bases, for stem.cu and stem_pool.cu: values of the strands tile by tile, how they become one
// value, the gradient of that, and the change that edited bases make.
//
//   Stem                 sizes: n sweep rows of l positions, o channels, k taps, `left` rows of padding, how strands are combined
//   combine, split, combined_change   one value of both strands, its gradient, its change; V channels a thread
//   Tiles, packed        calls finish(values, sweep row, tile, first position, slot, channel) for tiles of 128 positions and 32
//                        channels, with all 256 threads of a block, after a barrier that all have passed since the tile before;
//                        dynamic shared memory for `chunk` pairs of taps, tile_bytes of the host; what is behind_tables is free
//   Edits                what the edits of a mutant change at a position
#pragma once
#include "pool_cell.cuh"

namespace {

constexpr int CHANNELS = 32;              // of a tile
constexpr int POSITIONS = 128, EACH = 4;  // of a tile, of a thread
constexpr int LETTERS = 6, PAIRS = LETTERS * LETTERS;
enum Mode { FORWARD, MAXIMUM, MEAN, WEIGHTED };

struct Stem {
  int n, l, o, k, left, mode;
};

DRG_DEVICE int base_at(const unsigned char* x, int p, int l) { return (unsigned)p < (unsigned)l ? x[p] : 4; }
DRG_DEVICE int complement(int code) { return code < 4 ? 3 - code : code; }

// What tap t adds for a code.
DRG_DEVICE float letter(const float* w, const Stem& s, int t, int code, int channel) {
  if (t >= s.k || code == 4 || channel >= s.o) return 0.0f;
  const float* row = w + (long long)t * 4 * s.o + channel;
  if (code < 4) return row[code * s.o];
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < 4; c++) sum = fmaf(0.25f, row[c * s.o], sum);
  return sum;
}

// Four channels of a row of o, or as many as there are.
DRG_DEVICE void store_channels(float* row, int channel, int o, bool whole, const float (&v)[4]) {
  if (whole) {
    store(row + channel, v);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (channel + i < o) row[channel + i] = v[i];
    }
  }
}
DRG_DEVICE void load_channels(const float* row, int channel, int o, bool whole, float (&v)[4]) {
  if (whole) {
    load(row + channel, v);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = channel + i < o ? row[channel + i] : 0.0f;
  }
}

// Both strands as the rows of a window of two.
template <int V> DRG_DEVICE Rows<2, V> both(const float (&f)[V], const float (&r)[V]) {
  Rows<2, V> rows;
#pragma unroll
  for (int i = 0; i < V; i++) {
    rows.v[0][i] = f[i];
    rows.v[1][i] = r[i];
  }
  return rows;
}

template <int V> DRG_DEVICE void combine(int mode, const float (&f)[V], const float (&r)[V], float (&y)[V]) {
  Cell<2, V> cell;
  if (mode == WEIGHTED) cell.set(both(f, r), 2, {0, 0.0f});
#pragma unroll
  for (int i = 0; i < V; i++) {
    y[i] = mode == FORWARD ? f[i] : mode == MAXIMUM ? (r[i] > f[i] || r[i] != r[i] ? r[i] : f[i]) : mode == MEAN ? (f[i] + r[i]) * 0.5f : cell.y[i];
  }
}

// Gradients of the strands from that of y.
DRG_DEVICE void split(int mode, const float (&f)[4], const float (&r)[4], const float (&dy)[4], float (&df)[4], float (&dr)[4]) {
  if (mode == WEIGHTED) {
    Cell<2, 4> cell;
    cell.set(both(f, r), 2, {0, 0.0f});
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float share = dy[i] / cell.sums[i];
      df[i] = cell.gradient(f[i], i, share);
      dr[i] = cell.gradient(r[i], i, share);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    // Equal strands (palindromes) share the gradient.
    const float share = mode == FORWARD ? 1.0f : mode == MEAN || f[i] == r[i] ? 0.5f : f[i] > r[i] ? 1.0f : 0.0f;
    df[i] = dy[i] * share;
    dr[i] = dy[i] * (1.0f - share);
  }
}

// Change of the combined value when the strands, which were zf and zr, change by f and r.
template <int V>
DRG_DEVICE void combined_change(int mode, const float (&zf)[V], const float (&zr)[V], const float (&f)[V], const float (&r)[V], float (&y)[V]) {
  if (mode == WEIGHTED) {
    Reference<2, V> reference;
    reference.set(both(zf, zr), 2, {0, 0.0f});
    reference.change(both(f, r), 0.0f, y);
    return;
  }
#pragma unroll
  for (int i = 0; i < V; i++) {
    // Relative to the old value, so that nothing large is subtracted.
    const float top = zr[i] > zf[i] ? zr[i] : zf[i], a = zf[i] - top + f[i], b = zr[i] - top + r[i];
    y[i] = mode == FORWARD ? f[i] : mode == MEAN ? (f[i] + r[i]) * 0.5f : b > a ? b : a;
  }
}

// The strands of a thread's positions, slot + 32 j of the tile, for four channels.
struct Strands {
  float f[EACH][4], r[EACH][4];
};

DRG_DEVICE void begin_tile(const Stem& s, const float* bias, int channel, Strands& z) {
  float b[4];
#pragma unroll
  for (int i = 0; i < 4; i++) b[i] = bias != nullptr && channel + i < s.o ? bias[channel + i] : 0.0f;
#pragma unroll
  for (int j = 0; j < EACH; j++) {
#pragma unroll
    for (int i = 0; i < 4; i++) z.f[j][i] = z.r[j][i] = b[i];
  }
}

DRG_DEVICE void add_to(float (&sum)[4], const float* row) {
  float v[4];
  load(row, v);
#pragma unroll
  for (int i = 0; i < 4; i++) sum[i] += v[i];
}

// The tiles of a sweep row: `count` of them, `step` positions apart, the first at position `first`.
struct Tiles {
  int count, step, first;
};

// Shared memory behind what `packed` uses for so many pairs of taps.
DRG_DEVICE float* behind_tables(int chunk) {
  DYNAMIC_SHARED(float, table);
  return table + chunk * PAIRS * CHANNELS + round_up(POSITIONS + 2 * chunk, 4);
}

// Packed bases: taps are added in pairs, from a table of all 36 pairs of codes in shared memory: half the reads of single taps.
template <bool BOTH, typename F>
DRG_DEVICE void packed(const unsigned char* x, const int* rows, const float* w, const float* bias, const Stem& s, int chunk, Tiles tiles,
                       F finish) {
  DYNAMIC_SHARED(float, table);
  uint16_t* const forward = reinterpret_cast<uint16_t*>(table + chunk * PAIRS * CHANNELS);
  uint16_t* const other = forward + POSITIONS + 2 * chunk;
  const int t = (int)threadIdx.x, slot = t / 8, inner = t % 8 * 4, channel0 = (int)blockIdx.y * CHANNELS, channel = channel0 + inner;
  const int pairs = (s.k + 1) / 2;
  bool built = false;
  for (long long tile = blockIdx.x; tile < (long long)s.n * tiles.count; tile += gridDim.x) {
    const int row = (int)(tile / tiles.count), at = (int)(tile % tiles.count), p0 = tiles.first + at * tiles.step;
    const unsigned char* codes = x + (long long)(rows == nullptr ? row : rows[row]) * s.l;
    Strands z;
    begin_tile(s, bias, channel, z);
    for (int first = 0; first < pairs; first += chunk) {
      const int n = min(chunk, pairs - first);
      __syncthreads();   // the last chunk has been read
      if (!built) {
        for (int i = t; i < n * PAIRS * CHANNELS; i += (int)blockDim.x) {
          const int pair = i / (PAIRS * CHANNELS), codes_of = i / CHANNELS % PAIRS, c = channel0 + i % CHANNELS, tap = 2 * (first + pair);
          table[i] = letter(w, s, tap, codes_of / LETTERS, c) + letter(w, s, tap + 1, codes_of % LETTERS, c);
        }
        built = chunk >= pairs;
      }
      for (int e = t; e < POSITIONS + 2 * (n - 1); e += (int)blockDim.x) {
        const int q = p0 - s.left + 2 * first + e, back = p0 + s.left - 2 * (first + n - 1) + e;
        forward[e] = (uint16_t)((base_at(codes, q, s.l) * LETTERS + base_at(codes, q + 1, s.l)) * CHANNELS);
        if (BOTH) {
          other[e] = (uint16_t)((complement(base_at(codes, back, s.l)) * LETTERS + complement(base_at(codes, back - 1, s.l))) * CHANNELS);
        }
      }
      __syncthreads();
#pragma unroll 1
      for (int pair = 0; pair < n; pair++) {
        const float* of = table + pair * PAIRS * CHANNELS + inner;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
          add_to(z.f[j], of + forward[slot + 32 * j + 2 * pair]);
          if (BOTH) add_to(z.r[j], of + other[slot + 32 * j + 2 * (n - 1 - pair)]);
        }
      }
    }
    finish(z, row, at, p0, slot, channel);
  }
}

// The edits of all mutants: M + 1 offsets, then position * 8 + new base of each, sorted by position for every mutant.
struct Edits {
  const unsigned char* x;   // [N, L]
  const float* table;       // [k, 6, O]
  const int *of, *list;
  // Adds what the edits of mutant i of tape row n change at position p of the strands; get(row, v): V channels of a row of O.
  template <int V, typename G>
  __device__ __forceinline__ void add(const Stem& s, int i, long long n, int p, G get, float (&f)[V], float (&r)[V]) const {
    const int reach = max(s.left, s.k - 1 - s.left);
    int a = of[i];
    const int b = of[i + 1];
    // The first one that reaches this position.
    for (int end = b; a < end;) {
      const int middle = a + (end - a) / 2;
      if (list[middle] >> 3 < p - reach) a = middle + 1; else end = middle;
    }
    for (; a < b; a++) {
      const int at = list[a] >> 3, code = list[a] & 7;
      if (at > p + reach) break;
      const int old = x[n * s.l + at], tap = at + s.left - p, back = p + s.left - at;
      if (code == old) continue;
      if ((unsigned)tap < (unsigned)s.k) swap(s, tap, old, code, get, f);
      if (s.mode != FORWARD && (unsigned)back < (unsigned)s.k) swap(s, back, complement(old), complement(code), get, r);
    }
  }
  template <int V, typename G>
  __device__ __forceinline__ void swap(const Stem& s, int tap, int old, int code, G get, float (&sum)[V]) const {
    float more[V], less[V];
    get(table + ((long long)tap * LETTERS + code) * s.o, more);
    get(table + ((long long)tap * LETTERS + old) * s.o, less);
#pragma unroll
    for (int j = 0; j < V; j++) sum[j] += more[j] - less[j];
  }
};

DRG_DEVICE bool in_fours(int o) { return o % 4 == 0; }

}  // namespace
