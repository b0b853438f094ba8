// selftest.cpp: tests of the emulator itself. Every primitive against plain C++, and faults that must be reported or must show as a
// wrong result. tests/emulator.rs compiles and runs it; by hand:
//   c++ -std=c++17 -O2 -DDRG_EMULATE -Wno-unknown-pragmas -I kernels kernels/emulate/selftest.cpp kernels/emulate/emulate.cpp -pthread
#include <thread>

#include "selftest.h"
#include "selftest_sm90.h"

namespace {

// ---- element types

template <typename T> void conversions(const char* name, unsigned infinity) {
  long bad = 0;
  for (unsigned u = 0; u < 65536; u++) {
    const float f = to_float(bit_cast<T>((uint16_t)u));
    if ((u & 0x7fff) > infinity) bad += !std::isnan(f) || bit_cast<uint16_t>(from_float<T>(f)) != 0x7fff;
    else bad += bit_cast<uint16_t>(from_float<T>(f)) != u;
    if ((u & 0x7fff) + 1 >= infinity) continue;
    // the middle to the next value goes to the even one, its neighbours to theirs
    const float next = to_float(bit_cast<T>((uint16_t)(u + 1))), middle = 0.5f * f + 0.5f * next;
    bad += bit_cast<uint16_t>(from_float<T>(middle)) != (u & 1 ? u + 1 : u);
    bad += bit_cast<uint16_t>(from_float<T>(nextafterf(middle, f))) != u;
    bad += bit_cast<uint16_t>(from_float<T>(nextafterf(middle, next))) != u + 1;
  }
  check(bad == 0, std::string(name) + ": " + std::to_string(bad) + " wrong conversions");
  check(std::isinf(to_float(from_float<T>(3.4e38f))) && to_float(from_float<T>(-INFINITY)) == -INFINITY, std::string(name) + ": infinities");
}

void element_types() {
  conversions<bf16>("bf16", 0x7f80);
  conversions<f16>("f16", 0x7c00);
  check(to_float(bit_cast<f16>((uint16_t)1)) == ldexpf(1, -24) && to_float(bit_cast<f16>((uint16_t)0x3c00)) == 1 && to_float(bit_cast<bf16>((uint16_t)0x3f80)) == 1, "values of f16 and bf16");
  check(std::isinf(to_float(from_float<f16>(65520.0f))) && to_float(from_float<f16>(65519.0f)) == 65504.0f, "f16 overflow");
  check(unpack2<bf16>(pack2<bf16>(1.5f, -3)).y == -3 && unpack2<f16>(pack2<f16>(1.5f, -3)).x == 1.5f, "pack2");
  check(to_tf32(1.00048828125f) == 0x3f802000u && to_tf32(1.0f) == 0x3f800000u && to_tf32(INFINITY) == 0x7f800000u, "to_tf32");
  alignas(16) bf16 row[8], copy[8];
  for (int i = 0; i < 8; i++) row[i] = from_float<bf16>((float)i);
  float v[8];
  load(row, v);
  store(copy, v);
  check(!memcmp(row, copy, sizeof row) && load4(row + 4).z == 6, "load and store");
  reports("unaligned load", "not a multiple", 1, 0, [&row] { load4(row + 1); });
}

// ---- launches, barriers, warp operations

void launches() {
  for (unsigned n = 1; n < 40; n++) {
    std::vector<int> seen(n * 3 * 2 * 33);
    int* p = seen.data();
    const unsigned grid[3] = {n, 3, 2};
    const int rc = run("grid", grid, 33, 0, [p] { p[((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x]++; });
    bool once = rc == 0;
    for (int s : seen) once = once && s == 1;
    check(once, "every thread of every block runs once");
  }
  reports("too many threads", "1 to 1024", 1025, 0, [] {});
  reports("too much shared memory", "a block has 232448", 32, 232449, [] {});
  works("all shared memory", 32, 232448, [] {
    DYNAMIC_SHARED(uint8_t, all);
    all[232447] = 1;
  });
  const unsigned empty[3] = {1, 0, 1};
  check(run("empty grid", empty, 32, 0, [] {}) == 1, "an empty grid is refused");

  std::vector<int> right(8);
  std::vector<std::thread> threads;
  for (int k = 0; k < 8; k++) {
    threads.emplace_back([&right, k] {
      std::vector<int> out(256);
      int* p = out.data();
      const unsigned grid[3] = {20, 1, 1};
      int rc = run("threads", grid, 256, 0, [p, k] {
        SHARED(int, row, 256);
        row[threadIdx.x] = k + (int)threadIdx.x;
        __syncthreads();
        p[threadIdx.x] = row[threadIdx.x ^ 77];
      });
      for (int i = 0; i < 256; i++) rc |= out[(size_t)i] != k + (i ^ 77);
      right[(size_t)k] = rc == 0;
    });
  }
  for (std::thread& t : threads) t.join();
  for (int r : right) check(r == 1, "launches of several host threads at once");
}

// Without the first barrier a row is read before it is written, without the second it is overwritten before it is read.
bool reversed(bool first, bool second) {
  int out[3][256];
  works("reverse", 256, 0, [&out, first, second] {
    SHARED(int, row, 256);
    for (int round = 0; round < 3; round++) {
      row[threadIdx.x] = round * 1000 + (int)threadIdx.x;
      if (first) __syncthreads();
      out[round][threadIdx.x] = row[255 - threadIdx.x];
      if (second) __syncthreads();
    }
  });
  for (int i = 0; i < 3 * 256; i++) {
    if (out[i / 256][i % 256] != i / 256 * 1000 + 255 - i % 256) return false;
  }
  return true;
}

bool reversed_in_warp(bool fault) {
  int out[64];
  works("reverse in a warp", 64, 0, [&out, fault] {
    SHARED(int, row, 64);
    row[threadIdx.x] = (int)threadIdx.x;
    if (!fault) __syncwarp();
    out[threadIdx.x] = row[threadIdx.x ^ 31];
  });
  for (int i = 0; i < 64; i++) {
    if (out[i] != (i ^ 31)) return false;
  }
  return true;
}

// A slot that one warp fills and another reads, through named barriers.
void ring() {
  int out[8][32];
  works("ring", 64, 0, [&out] {
    SHARED(int, slot, 32);
    const int lane = lane_index();
    for (int i = 0; i < 8; i++) {
      if (warp_index() == 0) {
        if (i) named_barrier_sync(2, 64);
        slot[lane] = 100 * i + lane;
        named_barrier_arrive(1, 64);
      } else {
        named_barrier_sync(1, 64);
        out[i][lane] = slot[lane];
        if (i < 7) named_barrier_arrive(2, 64);
      }
    }
  });
  bool good = true;
  for (int i = 0; i < 8 * 32; i++) good = good && out[i / 32][i % 32] == i / 32 * 100 + i % 32;
  check(good, "named barriers");
}

void barriers() {
  shows("missing __syncthreads before reading", [](bool fault) { return reversed(!fault, true); });
  shows("missing __syncthreads before overwriting", [](bool fault) { return reversed(true, !fault); });
  shows("missing __syncwarp", reversed_in_warp);
  ring();
  works("returned threads count as arrived", 128, 0, [] {
    if (threadIdx.x % 3 == 0) return;
    __syncthreads();
    if (threadIdx.x % 3 == 1) return;
    __syncthreads();
  });
  reports("barrier never reached", "deadlock: threads 0-9 wait at __syncthreads (selftest.cpp:", 64, 0, [] {
    if (threadIdx.x < 10) __syncthreads();
    else if (threadIdx.x < 12) named_barrier_sync(1, 64);
  });
  reports("barrier named in a deadlock", "threads 5 wait at named_barrier_sync (selftest.cpp:", 64, 0, [] {
    if (threadIdx.x == 5) named_barrier_sync(1, 64);
  });
  reports("named barrier left behind", "arrived at a named barrier", 64, 0, [] {
    if (threadIdx.x < 32) named_barrier_arrive(4, 64);
  });
  reports("named barrier with two counts", "elsewhere", 64, 0, [] { named_barrier_sync(1, threadIdx.x == 0 ? 32 : 64); });
  reports("named barrier, odd count", "a multiple of 32", 64, 0, [] { named_barrier_sync(1, 33); });
  reports("trap", "__trap at", 32, 0, [] { __trap(); });
  reports("stack overflow", "of stack", 32, 0, [] {
    volatile char big[(128 << 10) + 1024];
    for (size_t i = 0; i < sizeof big; i += 8) big[i] = (char)i;
  });
}

void warps() {
  int direct[64], with_xor[64], up[64], down[64], segment[64], half[64];
  double wide[64];
  long long whole[64];
  unsigned votes[64][4];
  works("shuffles", 64, 0, [&] {
    const int t = (int)threadIdx.x, lane = lane_index();
    direct[t] = __shfl_sync(ALL, t, 5);
    with_xor[t] = __shfl_xor_sync(ALL, t, 9);
    up[t] = __shfl_up_sync(ALL, t, 3);
    down[t] = __shfl_down_sync(ALL, t, 3);
    segment[t] = __shfl_down_sync(ALL, t, 2, 8);
    half[t] = lane < 16 ? __shfl_sync(0xffffu, t, 3) : __shfl_xor_sync(0xffff0000u, t, 1);
    wide[t] = __shfl_xor_sync(ALL, 0.5 + t, 1);
    whole[t] = __shfl_sync(ALL, (long long)t << 40, 2);
    votes[t][0] = __ballot_sync(ALL, t % 3 == 0);
    votes[t][1] = (unsigned)__any_sync(ALL, t == 33) + 2 * (unsigned)__all_sync(ALL, t < 32);
    votes[t][2] = __reduce_add_sync(ALL, (unsigned)t);
    votes[t][3] = (unsigned)warp_max(t * 7 % 32);
  });
  bool good = true;
  for (int t = 0; t < 64; t++) {
    const int base = t & 32, lane = t & 31;
    unsigned ballot = 0;
    for (int l = 0; l < 32; l++) ballot |= (unsigned)((base + l) % 3 == 0) << l;
    good = good && direct[t] == base + 5 && with_xor[t] == (t ^ 9) && up[t] == (lane < 3 ? t : t - 3) && down[t] == (lane > 28 ? t : t + 3);
    good = good && segment[t] == (t % 8 > 5 ? t : t + 2) && half[t] == (lane < 16 ? base + 3 : t ^ 1) && wide[t] == 0.5 + (t ^ 1) && whole[t] == (long long)(base + 2) << 40;
    good = good && votes[t][0] == ballot && votes[t][1] == (base ? 1u : 2u) && votes[t][2] == (base ? 1520u : 496u) && votes[t][3] == 31u;
  }
  check(good, "shuffles and votes");

  reports("two different operations", "diverges", 32, 0, [] {
    if (threadIdx.x < 7) __shfl_sync(ALL, 1, 0);
    else __ballot_sync(ALL, 1);
  });
  reports("two different masks", "diverges", 32, 0, [] { __syncwarp(threadIdx.x < 7 ? ALL : 0xfffffff0u | 1u << threadIdx.x); });
  reports("a lane that never comes", "__shfl_sync", 32, 0, [] {
    if (threadIdx.x != 9) __shfl_sync(ALL, 1, 0);
  });
  reports("a lane that waits elsewhere", "deadlock", 32, 0, [] {
    if (threadIdx.x != 9) __shfl_sync(ALL, 1, 0);
    __syncthreads();
  });
  reports("a mask without the caller", "leaves out the calling lane", 32, 0, [] { __syncwarp(0xffff); });
  reports("a mask with lanes that do not exist", "does not have", 40, 0, [] { __syncwarp(); });
  reports("a source outside the mask", "leaves out", 32, 0, [] {
    if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
  });

  float sums[7][256];
  for (int repeat = 0; repeat < 7; repeat++) {
    works("block_sum", 256, 0, [&sums, repeat] {
      const float v = 1.0f / (1.0f + (float)threadIdx.x);
      sums[repeat][threadIdx.x] = block_sum<256>(v) + block_sum<256>(v * v) + block_max<256>(v);
    });
  }
  bool same = fabsf(sums[0][0] - (6.124345f + 1.641035f + 1)) < 1e-4f;
  for (auto& row : sums) {
    for (float s : row) same = same && s == sums[0][0];
  }
  check(same, "block_sum gives every thread the same bits each time");

  int count = 0, most = 0, least = 99, swapped = 0;
  unsigned long long total = 0;
  works("atomics", 96, 0, [&] {
    atomicAdd(&count, 1);
    atomicAdd(&total, 1ull << 33);
    atomicMax(&most, (int)threadIdx.x);
    atomicMin(&least, (int)threadIdx.x);
    if (atomicCAS(&swapped, 0, 7) == 0) atomicExch(&swapped, 8);
  });
  check(count == 96 && total == 96ull << 33 && most == 95 && least == 0 && swapped == 8, "atomics");

  std::vector<int> cells(7 * 5);
  works("each_cell", 32, 0, [&cells] { each_cell(7, 5, [&](long long r, int c) { cells[(size_t)(r * 5 + c)]++; }); });
  bool once = true;
  for (int c : cells) once = once && c == 1;
  check(once, "each_cell visits each cell once");
}

// ---- memory

void memory() {
  using Row = float[33];
  works("poison", 32, 64, [] {
    SHARED(Row, tile, 4);
    DYNAMIC_SHARED(float, more);
    if (!std::isnan(tile[3][32]) || !std::isnan(more[15]) || !std::isnan(to_float(reinterpret_cast<bf16*>(more)[3]))) drg::emulate::fail("not poisoned");
    __syncthreads();
    tile[3][32] = more[15] = 0;
  });
  reports("past a shared array", "outside the shared array `row` of 400 bytes, at offset 400", 32, 0, [] {
    SHARED(float, row, 100);
    row[100] = 0;
  });
  reports("before a shared array", "at offset -4", 32, 0, [] {
    SHARED(float, row, 100);
    row[(int)threadIdx.x - 1] = 0;
  });
  reports("past the dynamic shared memory", "past its 100 bytes of dynamic shared memory, at offset 100", 32, 100, [] {
    DYNAMIC_SHARED(uint8_t, bytes);
    bytes[100] = 0;
  });
  reports("before the dynamic shared memory", "2 bytes before", 32, 100, [] {
    DYNAMIC_SHARED(uint8_t, bytes);
    bytes[-2] = 0;
  });
  reports("static shared memory over 48 KB", "49152", 32, 0, [] {
    SHARED(float, row, 12289);
    row[0] = 0;
  });
  reports("static and dynamic over 227 KB", "a block has 232448", 32, 230000, [] {
    SHARED(float, row, 2000);
    row[0] = 0;
  });
  reports("a stray shared address", "in no SHARED array", 32, 16, [] { store_shared<float>(4096 * 8, 1.0f); });
  reports("an address of other memory", "not to shared memory", 32, 16, [] {
    int local = 0;
    shared_address(&local);
  });

  float* x = static_cast<float*>(drg_emulate_alloc(400));
  check(reinterpret_cast<uintptr_t>(x) % 256 == 0 && std::isnan(x[0]) && std::isnan(x[99]) && std::isnan(x[100]) && std::isnan(x[-1]), "allocations are aligned and poisoned");
  works("inside an allocation", 100, 0, [x] { x[threadIdx.x] = 1; });
  check(drg_emulate_check() == 0, "writes inside an allocation are fine");
  works("past an allocation", 101, 0, [x] { x[threadIdx.x] = x[threadIdx.x + 1]; });
  check(drg_emulate_check() == 0 || std::string(drg_emulate_message()).find("offset 400") != std::string::npos, "a write past an allocation");
  works("far past an allocation", 1, 0, [x] { x[300] = 1; });
  check(drg_emulate_check() == 1 && drg_emulate_free(x) == 1 && std::string(drg_emulate_message()).find("of an allocation of 400 bytes") != std::string::npos, "free reports a write past the end");
  check(drg_emulate_free(x) == 1 && drg_emulate_check() == 0 && drg_emulate_free(nullptr) == 0, "a second free is reported, the damage is gone with the allocation");
  uint8_t* y = static_cast<uint8_t*>(drg_emulate_alloc(3));
  works("before an allocation", 1, 0, [y] { y[-7] = 1; });
  check(drg_emulate_free(y) == 1 && std::string(drg_emulate_message()).find("7 bytes before") != std::string::npos, "free reports a write before the start");
}

// ---- one warp's tensor cores

template <typename T> void products(const char* name) {
  float a[16][16], b[16][8], c[16][8], d[16][8];
  for (auto& row : a) for (float& v : row) v = random_value();
  for (auto& row : b) for (float& v : row) v = random_value();
  for (auto& row : c) for (float& v : row) v = random_value();
  works(name, 32, 0, [&] {
    const int g = lane_index() / 4, q = lane_index() % 4;
    float r[4] = {c[g][2 * q], c[g][2 * q + 1], c[g + 8][2 * q], c[g + 8][2 * q + 1]};
    if constexpr (std::is_same<T, float>::value) {
      for (int k = 0; k < 16; k += 8) {
        const uint32_t f[4] = {to_tf32(a[g][k + q]), to_tf32(a[g + 8][k + q]), to_tf32(a[g][k + q + 4]), to_tf32(a[g + 8][k + q + 4])};
        mma_tf32(r, f, to_tf32(b[k + q][g]) | 0x1fff, to_tf32(b[k + q + 4][g]));   // low bits are ignored
      }
    } else {
      const uint32_t f[4] = {pair<T>(&a[g][2 * q], 1), pair<T>(&a[g + 8][2 * q], 1), pair<T>(&a[g][2 * q + 8], 1), pair<T>(&a[g + 8][2 * q + 8], 1)};
      mma<T>(r, f, pair<T>(&b[2 * q][g], 8), pair<T>(&b[2 * q + 8][g], 8));
    }
    for (int i = 0; i < 4; i++) d[g + i / 2 * 8][2 * q + i % 2] = r[i];
  });
  bool good = true;
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) {
      float s = c[i][j];
      for (int k = 0; k < 16; k++) s += a[i][k] * b[k][j];
      good = good && s == d[i][j];
    }
  }
  check(good, std::string(name) + ": products");
}

template <int N> void matrices() {
  bool good = true;
  works("ldmatrix", 32, 8192, [&good] {
    DYNAMIC_SHARED(uint16_t, m);
    const int lane = lane_index(), g = lane / 4, q = lane % 4;
    for (int i = lane; i < 8 * N * 24; i += 32) m[i] = (uint16_t)i;   // rows of 48 bytes
    __syncwarp();
    uint32_t r[N], t[N];
    const uint32_t at = shared_address(m) + (uint32_t)(lane % (8 * N)) * 48;
    ldmatrix(r, at);
    ldmatrix_transposed(t, at);
    for (int i = 0; i < N; i++) {
      const int first = (8 * i + g) * 24 + 2 * q, across = (8 * i + 2 * q) * 24 + g;
      good = good && r[i] == ((uint32_t)first | (uint32_t)(first + 1) << 16) && t[i] == ((uint32_t)across | (uint32_t)(across + 24) << 16);
    }
    __syncwarp();
    const uint32_t to = shared_address(m) + 4096 + (uint32_t)(lane % (8 * N)) * 16;
    stmatrix(r, to);
    __syncwarp();
    for (int i = lane; i < 64 * N; i += 32) good = good && m[2048 + i] == i / 8 * 24 + i % 8;
    __syncwarp();
    stmatrix_transposed(t, to);
    __syncwarp();
    for (int i = lane; i < 64 * N; i += 32) good = good && m[2048 + i] == i / 8 * 24 + i % 8;
  });
  check(good, "ldmatrix and stmatrix of " + std::to_string(N));
}

enum class CopyFault { none, no_wait, wait_one_less, no_barrier, early_release };

// A ring of three cp.async stages; `early_release` refills the stage that is still being read.
bool copies(CopyFault fault) {
  constexpr int STAGES = 3, STEPS = 12;
  std::vector<int> x(STEPS * 64 * 4), y(STEPS * 64 * 4, -1);
  for (size_t i = 0; i < x.size(); i++) x[i] = (int)i;
  works("cp.async", 64, STAGES * 1024, [&x, &y, fault] {
    DYNAMIC_SHARED(int, ring);
    const int t = (int)threadIdx.x;
    const auto issue = [&](int step) {
      if (step < STEPS) cp_async<16>(shared_address(ring + step % STAGES * 256 + t * 4), &x[(size_t)(step * 64 + t) * 4], t != 63);
      cp_async_commit();
    };
    for (int i = 0; i < STAGES - 1; i++) issue(i);
    for (int i = 0; i < STEPS; i++) {
      if (fault == CopyFault::early_release) issue(i + STAGES - 1);
      if (fault == CopyFault::early_release) cp_async_wait<STAGES - 1>();
      else if (fault == CopyFault::wait_one_less) cp_async_wait<STAGES - 1>();
      else if (fault != CopyFault::no_wait) cp_async_wait<STAGES - 2>();
      if (fault != CopyFault::no_barrier) __syncthreads();
      if (fault != CopyFault::early_release) issue(i + STAGES - 1);
      for (int k = 0; k < 4; k++) y[(size_t)(i * 256 + k * 64 + t)] = ring[i % STAGES * 256 + k * 64 + t];
    }
  });
  for (size_t i = 0; i < y.size(); i++) {
    if (y[i] != (i % 256 >= 252 ? 0 : (int)i)) return false;
  }
  return true;
}

void warp_units() {
  products<bf16>("mma bf16");
  products<f16>("mma f16");
  products<float>("mma tf32");
  matrices<1>();
  matrices<2>();
  matrices<4>();
  shows("missing cp_async_wait", [](bool f) { return copies(f ? CopyFault::no_wait : CopyFault::none); });
  shows("cp_async_wait for one group less", [](bool f) { return copies(f ? CopyFault::wait_one_less : CopyFault::none); });
  shows("missing barrier after cp_async_wait", [](bool f) { return copies(f ? CopyFault::no_barrier : CopyFault::none); });
  shows("cp.async into a stage that is still read", [](bool f) { return copies(f ? CopyFault::early_release : CopyFault::none); });
  shows("cp.async source overwritten before the wait", [](bool fault) {
    int x[4] = {1, 2, 3, 4}, y[4];
    works("source", 1, 16, [&] {
      DYNAMIC_SHARED(int, s);
      cp_async<16>(shared_address(s), x);
      cp_async_commit();
      if (fault) x[2] = 9;
      cp_async_wait<0>();
      memcpy(y, s, 16);
    });
    return y[2] == 3;
  });
  alignas(16) static int source[8];
  reports("unaligned cp.async", "not aligned to 16 bytes", 1, 64, [] {
    DYNAMIC_SHARED(int, s);
    cp_async<16>(shared_address(s + 1), source);
  });
  reports("cp.async outside", "outside the block's 64 bytes", 1, 64, [] {
    DYNAMIC_SHARED(int, s);
    cp_async<8>(shared_address(s) + 64, source);
  });
  reports("ldmatrix outside", "outside the block's 64 bytes", 32, 64, [] {
    DYNAMIC_SHARED(int, s);
    uint32_t r[1];
    ldmatrix(r, shared_address(s) + 16 * threadIdx.x);
  });
}

}  // namespace

int main() {
  element_types();
  launches();
  barriers();
  warps();
  memory();
  warp_units();
  hopper();
  printf("%d checks, %d failed\n", checks, failures);
  return failures != 0;
}
