// selftest_sm90.h: mbarriers, tensor copies and wgmma; part of selftest.cpp.
#pragma once
#include "selftest.h"

namespace {

// Loads (or stores) one box through every swizzle and rank; tensors of 16-bit elements that hold their own index + 1.
template <int RANK> void tensors(int swizzle) {
  const uint64_t dims[4] = {40, 7, 5, 3};
  uint64_t strides[3] = {96, 96 * 7 + 32, (96 * 7 + 32) * 5};
  const uint32_t box[4] = {swizzle ? (uint32_t)swizzle / 2 : 24u, 4, 3, 2};
  std::vector<uint16_t> memory(96 / 2 * 7 * 5 * 3 + 1000);
  uint16_t* base = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 255) / 256 * 256);
  for (size_t i = 0; i < memory.size() - 256; i++) base[i] = (uint16_t)(i + 1);
  const std::vector<uint16_t> before = memory;
  CUtensorMap map;
  check(drg_emulate_tensor_map(&map, 2, RANK, base, dims, strides, box, swizzle) == 0, drg_emulate_message());
  const int rows = 4 * (RANK > 2 ? 3 : 1) * (RANK > 3 ? 2 : 1), bytes = rows * (int)box[0] * 2;
  const int c[4] = {-3, 5, 3, 2};
  long bad = 0;
  const auto address = [&](int row, int column, bool& inside) {
    const int at[4] = {c[0] + column, c[1] + row % 4, c[2] + row / 4 % 3, c[3] + row / 12};
    inside = true;
    size_t offset = (size_t)(at[0] * 2);
    for (int i = 0; i < RANK; i++) inside = inside && at[i] >= 0 && at[i] < (int)dims[i];
    for (int i = 1; i < RANK; i++) offset += (size_t)at[i] * strides[i - 1];
    return offset / 2;
  };
  const auto place = [&](int row, int column) {
    const uint32_t byte = (uint32_t)(row * (int)box[0] + column) * 2;
    return (swizzle ? byte ^ ((byte >> 7 & ((uint32_t)swizzle / 16 - 1)) << 4) : byte) / 2;
  };
  works("tensor_load", 32, (unsigned)bytes, [&] {
    DYNAMIC_SHARED(uint16_t, tile);
    SHARED(uint64_t, bars, 1);
    const uint32_t bar = shared_address(bars);
    if (threadIdx.x == 0) {
      mbarrier_init(bar, 1);
      fence_mbarrier_init();
      mbarrier_expect(bar, bytes);
      const uint32_t to = shared_address(tile);
      if constexpr (RANK == 2) tensor_load(to, map, bar, c[0], c[1]);
      else if constexpr (RANK == 3) tensor_load(to, map, bar, c[0], c[1], c[2]);
      else tensor_load(to, map, bar, c[0], c[1], c[2], c[3]);
    }
    __syncthreads();
    mbarrier_wait(bar, 0);
    for (int row = 0; row < rows; row++) {
      for (int column = (int)threadIdx.x; column < (int)box[0]; column += 32) {
        bool inside;
        const size_t from = address(row, column, inside);
        bad += tile[place(row, column)] != (inside ? base[from] : 0);
      }
    }
    // the tile goes back as its own complement
    __syncthreads();
    for (int i = (int)threadIdx.x; i < bytes / 2; i += 32) tile[i] = (uint16_t)~tile[i];
    fence_async();
    __syncthreads();
    if (threadIdx.x == 0) {
      const uint32_t from = shared_address(tile);
      if constexpr (RANK == 2) tensor_store(map, from, c[0], c[1]);
      else if constexpr (RANK == 3) tensor_store(map, from, c[0], c[1], c[2]);
      else tensor_store(map, from, c[0], c[1], c[2], c[3]);
      bulk_commit();
      bulk_wait_read<0>();
      bulk_wait<0>();
    }
  });
  std::vector<uint16_t> expected = before;
  uint16_t* expected_base = expected.data() + (base - memory.data());
  for (int row = 0; row < rows; row++) {
    for (int column = 0; column < (int)box[0]; column++) {
      bool inside;
      const size_t at = address(row, column, inside);
      if (inside) expected_base[at] = (uint16_t)~expected_base[at];
    }
  }
  check(bad == 0 && memory == expected, "tensor copies of rank " + std::to_string(RANK) + ", swizzle " + std::to_string(swizzle));
}

enum class RingFault { none, early_release, no_full_wait, no_wgmma_wait };

// y[64][32] = sum over steps of A[step][64][64] B[step][32][64]^T through a ring of two stages: a producer warp and a warpgroup.
bool tensor_ring(RingFault fault) {
  constexpr int STEPS = 5, STAGE = 64 * 128 + 32 * 128;
  std::vector<uint16_t> memory((64 + 32) * 64 * STEPS + 64);
  uint16_t* a = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
  uint16_t* b = a + 64 * 64 * STEPS;
  for (int i = 0; i < (64 + 32) * 64 * STEPS; i++) a[i] = bit_cast<uint16_t>(from_float<bf16>(random_value()));
  CUtensorMap map_a, map_b;
  const uint64_t dims_a[2] = {64, 64 * STEPS}, dims_b[2] = {64, 32 * STEPS}, strides[1] = {128};
  const uint32_t box_a[2] = {64, 64}, box_b[2] = {64, 32};
  drg_emulate_tensor_map(&map_a, 2, 2, a, dims_a, strides, box_a, 128);
  drg_emulate_tensor_map(&map_b, 2, 2, b, dims_b, strides, box_b, 128);
  std::vector<float> y(64 * 32);
  works("tensor ring", 160, 2 * STAGE, [&, fault] {
    DYNAMIC_SHARED(uint8_t, stages);
    SHARED(uint64_t, bars, 4);
    const uint32_t s = shared_address(stages), full = shared_address(bars), empty = full + 16;
    if (threadIdx.x == 0) {
      for (int i = 0; i < 2; i++) {
        mbarrier_init(full + 8 * i, 1);
        mbarrier_init(empty + 8 * i, 4);
      }
      fence_mbarrier_init();
    }
    __syncthreads();
    const int warp = warp_index(), lane = lane_index(), g = lane / 4, q = lane % 4;
    if (warp == 4) {
      if (lane != 0) return;
      for (int i = 0; i < STEPS; i++) {
        mbarrier_wait(empty + 8 * (i % 2), (i / 2 & 1) ^ 1);
        mbarrier_expect(full + 8 * (i % 2), STAGE);
        tensor_load(s + i % 2 * STAGE, map_a, full + 8 * (i % 2), 0, 64 * i);
        tensor_load(s + i % 2 * STAGE + 64 * 128, map_b, full + 8 * (i % 2), 0, 32 * i);
      }
      mbarrier_wait(full + 8 * ((STEPS - 1) % 2), (STEPS - 1) / 2 & 1);
      return;
    }
    float d[16];
    for (int i = 0; i < STEPS; i++) {
      if (fault != RingFault::no_full_wait) mbarrier_wait(full + 8 * (i % 2), i / 2 & 1);
      const uint32_t at = s + i % 2 * STAGE;
      wgmma_pin(d);
      wgmma_fence();
      for (int k = 0; k < 4; k++) wgmma_ss<bf16, 32>(d, descriptor_k(at) + 2 * k, descriptor_k(at + 64 * 128) + 2 * k, i + k != 0);
      wgmma_commit();
      wgmma_pin(d);
      if (fault == RingFault::early_release) {
        if (lane == 0) mbarrier_arrive(empty + 8 * (i % 2));
        wgmma_wait<1>();
      } else {
        wgmma_wait<1>();
        if (i && lane == 0) mbarrier_arrive(empty + 8 * ((i - 1) % 2));
      }
    }
    if (fault != RingFault::no_wgmma_wait) wgmma_wait<0>();
    wgmma_pin(d);
    for (int j = 0; j < 4; j++) {
      for (int i = 0; i < 4; i++) y[(size_t)((16 * warp + g + i / 2 * 8) * 32 + 8 * j + 2 * q + i % 2)] = d[4 * j + i];
    }
    wgmma_wait<0>();
  });
  for (int row = 0; row < 64; row++) {
    for (int column = 0; column < 32; column++) {
      float sum = 0;
      for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < 64; k++) sum += to_float(bit_cast<bf16>(a[(64 * i + row) * 64 + k])) * to_float(bit_cast<bf16>(b[(32 * i + column) * 64 + k]));
      }
      if (y[(size_t)(row * 32 + column)] != sum) return false;
    }
  }
  return true;
}

// One warpgroup instruction of width N, from operands written by hand at the places that swizzle128 gives.
template <typename T, int N, int A_MN, int B_MN> void warpgroup() {
  static float a[64][16], b[N][16], y[64][N], z[64][N];
  for (auto& row : a) for (float& v : row) v = random_value();
  for (auto& row : b) for (float& v : row) v = random_value();
  // M/N-major: blocks of 64 of M or N, each 16 k x 128 bytes
  works("wgmma", 128, 65536, [] {
    DYNAMIC_SHARED(uint8_t, s);
    const uint32_t at_a = shared_address(s), at_b = at_a + 8192;
    const int t = (int)threadIdx.x;
    for (int i = t; i < 64 * 16; i += 128) {
      const int m = i / 16, k = i % 16;
      store_shared(swizzle128(at_a + (uint32_t)(A_MN ? k * 128 + m * 2 : m * 128 + k * 2)), from_float<T>(a[m][k]));
    }
    for (int i = t; i < N * 16; i += 128) {
      const int n = i / 16, k = i % 16;
      store_shared(swizzle128(at_b + (uint32_t)(B_MN ? n / 64 * 2048 + k * 128 + n % 64 * 2 : n * 128 + k * 2)), from_float<T>(b[n][k]));
    }
    fence_async();
    __syncthreads();
    const uint64_t da = A_MN ? descriptor_mn(at_a, 2048) : descriptor_k(at_a), db = B_MN ? descriptor_mn(at_b, 2048) : descriptor_k(at_b);
    const int warp = t / 32, g = t % 32 / 4, q = t % 4, row = 16 * warp + g;
    float d[N / 2], e[N / 2];
    const uint32_t r[4] = {pair<T>(&a[row][2 * q], 1), pair<T>(&a[row + 8][2 * q], 1), pair<T>(&a[row][2 * q + 8], 1), pair<T>(&a[row + 8][2 * q + 8], 1)};
    wgmma_fence();
    wgmma_ss<T, N, A_MN, B_MN>(d, da, db, 0);
    wgmma_ss<T, N, A_MN, B_MN>(d, da, db, 1);
    wgmma_commit();
    wgmma_rs<T, N, B_MN>(e, r, db, 0);
    wgmma_commit();
    wgmma_wait<0>();
    for (int j = 0; j < N / 8; j++) {
      for (int i = 0; i < 4; i++) {
        y[row + i / 2 * 8][8 * j + 2 * q + i % 2] = d[4 * j + i];
        z[row + i / 2 * 8][8 * j + 2 * q + i % 2] = e[4 * j + i];
      }
    }
  });
  bool good = true;
  for (int m = 0; m < 64; m++) {
    for (int n = 0; n < N; n++) {
      float sum = 0;
      for (int k = 0; k < 16; k++) sum += a[m][k] * b[n][k];
      good = good && y[m][n] == 2 * sum && z[m][n] == sum;
    }
  }
  check(good, "wgmma N " + std::to_string(N) + ", A_MN " + std::to_string(A_MN) + ", B_MN " + std::to_string(B_MN));
}
template <typename T, int N> void warpgroups() {
  warpgroup<T, N, 0, 0>();
  warpgroup<T, N, 0, 1>();
  warpgroup<T, N, 1, 0>();
  warpgroup<T, N, 1, 1>();
}

bool store_ring(bool fault) {
  alignas(16) static uint16_t out[2][64];
  CUtensorMap map;
  const uint64_t dims[2] = {64, 2}, strides[1] = {128};
  const uint32_t box[2] = {64, 1};
  drg_emulate_tensor_map(&map, 2, 2, out, dims, strides, box, 0);
  works("tensor_store", 1, 128, [&map, fault] {
    DYNAMIC_SHARED(uint16_t, s);
    for (int i = 0; i < 2; i++) {
      if (i && !fault) bulk_wait_read<0>();
      for (int k = 0; k < 64; k++) s[k] = (uint16_t)(100 * i + k);
      fence_async();
      tensor_store(map, shared_address(s), 0, i);
      bulk_commit();
    }
    bulk_wait<0>();
  });
  return out[0][5] == 5 && out[1][5] == 105;
}

void hopper() {
  for (int swizzle : {0, 32, 64, 128}) {
    tensors<2>(swizzle);
    tensors<3>(swizzle);
    tensors<4>(swizzle);
  }
  warpgroups<bf16, 8>();
  warpgroups<f16, 64>();
  warpgroups<bf16, 104>();
  warpgroups<f16, 160>();
  warpgroups<bf16, 256>();
  shows("a stage released before its wgmma is done", [](bool f) { return tensor_ring(f ? RingFault::early_release : RingFault::none); });
  shows("a stage read before it is full", [](bool f) { return tensor_ring(f ? RingFault::no_full_wait : RingFault::none); });
  shows("accumulators read before wgmma_wait", [](bool f) { return tensor_ring(f ? RingFault::no_wgmma_wait : RingFault::none); });
  shows("a stored box overwritten before bulk_wait_read", store_ring);

  alignas(16) static uint16_t x[64 * 8];
  CUtensorMap map;
  const uint64_t dims[2] = {64, 8}, strides[1] = {128}, odd[1] = {136};
  const uint32_t box[2] = {64, 8}, wide[2] = {64, 257};
  check(drg_emulate_tensor_map(&map, 2, 2, x + 1, dims, strides, box, 128) == 1 && drg_emulate_tensor_map(&map, 2, 2, x, dims, odd, box, 128) == 1 && drg_emulate_tensor_map(&map, 2, 2, x, dims, strides, wide, 128) == 1 && drg_emulate_tensor_map(&map, 4, 2, x, dims, strides, box, 128) == 1, "wrong tensor maps are refused");
  check(drg_emulate_tensor_map(&map, 2, 2, x, dims, strides, box, 128) == 0, drg_emulate_message());
  const auto one = [&map](const char* what, const char* text, int fault) {
    reports(what, text, 128, 16384, [&map, fault] {
      DYNAMIC_SHARED(uint8_t, s);
      SHARED(uint64_t, bars, 2);
      const uint32_t bar = shared_address(bars), at = shared_address(s);
      float d[4];
      if (fault == 7) {
        wgmma_ss<bf16, 8>(d, descriptor_k(at), descriptor_k(at), 0);
        return;
      }
      if (fault == 8 && threadIdx.x < 32) {
        wgmma_ss<bf16, 8>(d, descriptor_k(at), descriptor_k(at), 0);
        wgmma_commit();
        wgmma_wait<0>();
      }
      if (fault == 9) {
        wgmma_ss<bf16, 8>(d, descriptor_k(at), descriptor_k(at) | 1ull << 49, 0);
        wgmma_commit();
        wgmma_wait<0>();
      }
      if (threadIdx.x != 0) return;
      if (fault == 0) mbarrier_arrive(bar);
      mbarrier_init(bar, fault == 11 ? 2 : 1);
      if (fault == 1) bars[0] = 5;
      if (fault == 2) {   // bytes are missing, so the phase stays open
        mbarrier_expect(bar, 1024);
        mbarrier_arrive(bar);
      }
      mbarrier_expect(bar, fault == 3 ? 1040 : 1024);
      if (fault == 4) tensor_load(at + 128, map, bar, 0, 0);
      if (fault == 5) tensor_load(at, map, bar, 0, 0, 0);
      if (fault != 6) tensor_load(at + (fault == 12 ? 16 * 1024 : 0), map, bar, 0, 0);
      mbarrier_wait(bar, 0);
    });
  };
  // whether the copy lands before the last thread returns is left to chance
  int in_flight = 0;
  for (int i = 0; i < 20; i++) {
    const unsigned grid[3] = {1, 1, 1};
    in_flight += run("load still in flight", grid, 32, 1024, [&map] {
      DYNAMIC_SHARED(uint8_t, s);
      SHARED(uint64_t, bars, 1);
      if (threadIdx.x != 31) return;
      mbarrier_init(shared_address(bars), 1);
      mbarrier_expect(shared_address(bars), 1024);
      tensor_load(shared_address(s), map, shared_address(bars), 0, 0);
    }) == 1 && std::string(drg_emulate_message()).find("in flight") != std::string::npos;
  }
  check(in_flight > 0, "a load in flight at the end of its block is reported");
  one("barrier not initialised", "no mbarrier was initialised", 0);
  one("barrier overwritten", "was overwritten", 1);
  one("barrier with too many arrivals", "more than its 1 arrivals", 2);
  one("bytes that never come", "and 16 bytes missing", 3);
  one("box at an odd address", "is not a multiple of 1024", 4);
  one("rank of the map", "a 3-dimensional copy with a tensor map of 2", 5);
  one("load never issued", "mbarrier 0x", 6);
  one("wgmma never waited for", "wgmma in flight", 7);
  one("wgmma by one warp only", "different numbers of wgmma", 8);
  one("wgmma base offset", "base offset", 9);
  one("arrivals missing", "1 arrivals of 2", 11);
  one("box past the end", "outside the block's", 12);
}

}  // namespace
