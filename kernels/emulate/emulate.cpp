// emulate.cpp: runs a kernel's grid on one host thread: fibers, barriers, operations of warps; memory.inc, matrix.inc and tensor.inc do the rest.
// See emulate.h for what is checked. How a block runs: every thread that can go on is 'ready'; pick() prefers the current warp and
// now and then jumps to another. A thread that returns leaves its fiber to the next thread that has not started yet, so a kernel
// without barriers runs on a single fiber, a call per thread.
#include "emulate.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "state.h"
#include "switch.h"

__thread uint3 threadIdx, blockIdx;
__thread dim3 blockDim, gridDim;

namespace drg {
namespace emulate {
namespace {

// not a power of two: the tops of the stacks would all fall into the same cache sets
constexpr size_t STACK = (128 << 10) + 13 * 64, STACKS_A_CHUNK = 16;
constexpr size_t CHUNK = STACK * (STACKS_A_CHUNK + 1);   // the lowest is never used: an overflow of its neighbour lands there
constexpr uint64_t CANARY = 0x5ca1ab1e0ddba11full;

thread_local char message[2048] = "";
thread_local State* own_state = nullptr;

void set_message(const char* format, ...) __attribute__((format(printf, 1, 2)));
void set_message(const char* format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
}

uint8_t guard_byte(const uint8_t* at) { return reinterpret_cast<uintptr_t>(at) % 2 ? 0xff : 0xfe; }

void* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

void worker();

void reset_fiber(Fiber* fiber) {
  memcpy(fiber->stack, &CANARY, sizeof CANARY);
  fiber->stack_pointer = prepare_stack(fiber->stack, STACK, worker);
}

// Null without memory.
Fiber* take_fiber(State& s) {
  if (s.idle.empty()) {
    char* chunk = static_cast<char*>(map_memory(CHUNK));
    if (!chunk) return nullptr;
    s.chunks.push_back(chunk);
    for (size_t i = 0; i < STACKS_A_CHUNK; i++) {
      Fiber* fiber = new Fiber{nullptr, chunk + (STACKS_A_CHUNK - i) * STACK};
      reset_fiber(fiber);
      s.fibers.push_back(fiber);
      s.idle.push_back(fiber);
    }
  }
  Fiber* fiber = s.idle.back();
  s.idle.pop_back();
  return fiber;
}

void check_stack(const Fiber* fiber) {
  uint64_t canary;
  memcpy(&canary, fiber->stack, sizeof canary);
  if (canary != CANARY) fail("the thread used more than its %zu KB of stack", STACK >> 10);
}

[[noreturn]] void leave(State& s) {
  void* dropped;
  drg_emulate_switch(&dropped, s.main_stack_pointer);
  __builtin_unreachable();
}

void append(char* text, size_t size, const char* format, ...) __attribute__((format(printf, 3, 4)));
void append(char* text, size_t size, const char* format, ...) {
  const size_t used = strlen(text);
  va_list list;
  va_start(list, format);
  vsnprintf(text + used, size - used, format, list);
  va_end(list);
}

bool same_place(const Thread& a, const Thread& b) { return a.place.line == b.place.line && a.detail == b.detail && !strcmp(a.place.what, b.place.what) && !strcmp(a.place.file, b.place.file); }

const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

[[noreturn]] void report_deadlock(State& s) {
  char text[1400] = "";
  bool told[MAX_THREADS] = {};
  int places = 0;
  for (int first = 0; first < s.threads; first++) {
    if (told[first] || !s.thread[first].fiber) continue;
    const Thread& t = s.thread[first];
    if (++places > 6) {
      append(text, sizeof text, "; and others");
      break;
    }
    append(text, sizeof text, "%s", places > 1 ? "; threads" : "threads");
    int runs = 0;
    for (int i = first; i < s.threads; i++) {
      if (!s.thread[i].fiber || !same_place(t, s.thread[i])) continue;
      told[i] = true;
      int last = i;
      while (last + 1 < s.threads && s.thread[last + 1].fiber && same_place(t, s.thread[last + 1])) told[++last] = true;
      if (++runs == 5) append(text, sizeof text, ", ...");
      if (runs < 5) append(text, sizeof text, last > i ? "%s %d-%d" : "%s %d", runs > 1 ? "," : "", i, last);
      i = last;
    }
    append(text, sizeof text, " wait at %s (%s:%d", t.place.what, base_name(t.place.file), t.place.line);
    append(text, sizeof text, t.label ? ", %s 0x%x)" : ")", t.label, t.detail);
    for (const Mbarrier& b : s.mbarriers) {
      if (!t.label || strcmp(t.label, "mbarrier") || b.address != t.detail) continue;
      append(text, sizeof text, ": phase %d, %d arrivals of %d and %lld bytes missing", b.phase, b.pending, b.count, (long long)b.bytes);
    }
  }
  int returned = s.threads - s.alive;
  fail("deadlock: %s; %d of %d threads have returned", text, returned, s.threads);
}

// The next thread to run, or -1 when all have returned.
int pick(State& s) {
  for (;;) {
    const uint32_t dice = s.random();
    if (!s.bulks.empty() && (dice >> 8 & 3) == 0) land_bulk(s);
    if (!s.ready_warps) {
      if (s.alive == 0) return -1;
      if (land_bulk(s)) continue;
      report_deadlock(s);
    }
    if (!s.warps_[s.warp].ready || (dice & 15) == 0) {
      uint32_t left = s.ready_warps;
      for (uint32_t skip = (dice >> 16) % (uint32_t)__builtin_popcount(left); skip; skip--) left &= left - 1;
      s.warp = __builtin_ctz(left);
    }
    Warp& w = s.warps_[s.warp];
    const int lane = w.descending ? 31 - __builtin_clz(w.ready) : __builtin_ctz(w.ready);
    w.ready &= ~(1u << lane);
    if (!w.ready) s.ready_warps &= ~(1u << s.warp);
    return s.warp * 32 + lane;
  }
}

void release(State& s, uint32_t (&waiting)[MAX_WARPS]) {
  for (int w = 0; w < s.warps; w++) {
    s.make_ready(w, waiting[w]);
    waiting[w] = 0;
  }
}

void thread_returns(State& s) {
  const int t = s.current;
  Warp& w = s.warps_[t >> 5];
  w.returned |= 1u << (t & 31);
  s.thread[t].fiber = nullptr;
  s.alive--;
  // the hardware counts returned threads as arrived
  if (s.barriers[0].arrived && s.barriers[0].arrived == s.alive) {
    s.barriers[0].arrived = 0;
    release(s, s.barriers[0].waiting);
  }
}

// What a fiber does for ever: run threads from their start.
void worker() {
  for (;;) {
    State& s = *own_state;
    Fiber* me = s.thread[s.current].fiber;
    s.call(s.body);
    check_stack(me);
    thread_returns(s);
    const int next = pick(s);
    s.current = next;
    if (next >= 0) threadIdx.x = (unsigned)next;
    if (next >= 0 && !s.thread[next].fiber) {
      s.thread[next].fiber = me;
      continue;
    }
    s.idle.push_back(me);
    drg_emulate_switch(&me->stack_pointer, next < 0 ? s.main_stack_pointer : s.thread[next].fiber->stack_pointer);
  }
}

void start_block(State& s) {
  s.alive = s.threads;
  s.ready_warps = s.warps == 32 ? 0xffffffffu : (1u << s.warps) - 1;
  s.warp = (int)(s.random() % (uint32_t)s.warps);
  for (int w = 0; w < s.warps; w++) {
    Warp& warp = s.warps_[w];
    const int lanes = s.threads - w * 32 < 32 ? s.threads - w * 32 : 32;
    warp.exists = warp.ready = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
    warp.returned = warp.pending = 0;
    warp.descending = s.random() & 1;
    warp.groups.clear();
    warp.issued = 0;
  }
  for (int t = 0; t < s.threads; t++) {
    Thread& thread = s.thread[t];
    thread.fiber = nullptr;
    thread.copy_groups = thread.bulk_groups = 0;
    if (!thread.copies.empty()) thread.copies.clear();
  }
  memset(s.barriers, 0, sizeof s.barriers);
  s.mbarriers.clear();
  s.bulks.clear();
  for (Array& a : s.arrays) a.touched = false;
  memset(s.shared + RESERVED, POISON, s.dynamic_bytes);
}

// Reports through the message, on the host's stack: fail() is for fibers.
bool block_is_sound(State& s) {
  const char* left = left_in_flight(s);
  for (int id = 1; id < 16; id++) {
    if (s.barriers[id].arrived) left = "threads that arrived at a named barrier for which the others never came";
  }
  if (left) {
    set_message("%s: block (%u, %u, %u) ended with %s", s.name, blockIdx.x, blockIdx.y, blockIdx.z, left);
    return false;
  }
  ptrdiff_t at = guard_damage(s.shared, RESERVED);
  if (at >= 0) {
    set_message("%s: block (%u, %u, %u) wrote %td bytes before its dynamic shared memory", s.name, blockIdx.x, blockIdx.y, blockIdx.z, (ptrdiff_t)RESERVED - at);
    return false;
  }
  const uint32_t end = RESERVED + s.dynamic_bytes;
  at = guard_damage(s.shared + end, s.static_base - end);
  if (at >= 0) {
    set_message("%s: block (%u, %u, %u) wrote past its %u bytes of dynamic shared memory, at offset %td", s.name, blockIdx.x, blockIdx.y, blockIdx.z, s.dynamic_bytes, (ptrdiff_t)s.dynamic_bytes + at);
    return false;
  }
  for (const Array& a : s.arrays) {
    if (!a.touched) continue;
    at = guard_damage(s.shared + a.offset - STATIC_GUARD, STATIC_GUARD);
    const bool before = at >= 0;
    if (before) at -= STATIC_GUARD;
    else if ((at = guard_damage(s.shared + a.offset + a.bytes, STATIC_GUARD)) >= 0) at += a.bytes;
    else continue;
    set_message("%s: block (%u, %u, %u) wrote outside the shared array `%s` of %u bytes, at offset %td", s.name, blockIdx.x, blockIdx.y, blockIdx.z, a.name, a.bytes, at);
    return false;
  }
  return true;
}

void abandon(State& s) {
  s.idle.clear();
  for (Fiber* fiber : s.fibers) {
    reset_fiber(fiber);
    s.idle.push_back(fiber);
  }
  s.arrays.clear();
}

bool run_block(State& s) {
  start_block(s);
  s.failed = false;
  s.current = -1;
  // The first thread is chosen here, the rest where a thread waits or returns. fail() is not possible before a fiber runs.
  const int first = pick(s);
  Fiber* fiber = take_fiber(s);
  if (!fiber) return set_message("%s: no memory for the threads' stacks", s.name), false;
  s.current = first;
  s.thread[first].fiber = fiber;
  threadIdx = {(unsigned)first, 0, 0};
  drg_emulate_switch(&s.main_stack_pointer, fiber->stack_pointer);
  return !s.failed && block_is_sound(s);
}

uint64_t seed_of(const char* name) {
  static const uint64_t seed = [] {
    const char* text = getenv("DRG_EMULATE_SEED");
    return text ? strtoull(text, nullptr, 10) : 20261120ull;
  }();
  uint64_t hash = seed * 0x9e3779b97f4a7c15ull + 1469598103934665603ull;
  for (; *name; name++) hash = (hash ^ (uint8_t)*name) * 1099511628211ull;
  return hash;
}

uint64_t greatest_divisor(uint64_t a, uint64_t b) { return b ? greatest_divisor(b, a % b) : a; }

}  // namespace

State& state() { return *own_state; }

State::~State() {
  for (Fiber* fiber : fibers) delete fiber;
  for (char* chunk : chunks) munmap(chunk, CHUNK);
  if (shared) munmap(shared, ARENA);
}

void guard_fill(uint8_t* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) from[i] = guard_byte(from + i);
}
ptrdiff_t guard_damage(const uint8_t* from, size_t bytes) {
  size_t i = 0;
  for (; i < bytes && reinterpret_cast<uintptr_t>(from + i) % 8; i++) {
    if (from[i] != guard_byte(from + i)) return (ptrdiff_t)i;
  }
  for (uint64_t word; i + 8 <= bytes; i += 8) {
    memcpy(&word, from + i, 8);
    if (word != 0xfffefffefffefffeull) break;
  }
  for (; i < bytes; i++) {
    if (from[i] != guard_byte(from + i)) return (ptrdiff_t)i;
  }
  return -1;
}

void fail(const char* format, ...) {
  State& s = state();
  int used = snprintf(message, sizeof message, "%s: block (%u, %u, %u), thread %d: ", s.name, blockIdx.x, blockIdx.y, blockIdx.z, s.current);
  va_list list;
  va_start(list, format);
  vsnprintf(message + used, sizeof message - (size_t)used, format, list);
  va_end(list);
  s.failed = true;
  leave(s);
}

void wait_here(Place place, const char* label, uint32_t detail) {
  State& s = state();
  const int me = s.current;
  Thread& thread = s.thread[me];
  thread.place = place;
  thread.label = label;
  thread.detail = detail;
  const int next = pick(s);
  if (next == me) return;
  s.current = next;
  threadIdx.x = (unsigned)next;
  if (!s.thread[next].fiber && !(s.thread[next].fiber = take_fiber(s))) fail("no memory for the stacks of %d threads", s.threads);
  drg_emulate_switch(&thread.fiber->stack_pointer, s.thread[next].fiber->stack_pointer);
  threadIdx.x = (unsigned)me;
}

void barrier(int id, int threads, bool wait, Place place) {
  State& s = state();
  Barrier& b = s.barriers[id];
  const int me = s.current;
  if (id) {
    if (threads <= 0 || threads % 32 || threads > s.warps * 32) fail("named barrier %d for %d threads at %s:%d: a multiple of 32, at most the block's %d", id, threads, base_name(place.file), place.line, s.threads);
    if (b.arrived && b.threads != threads) fail("named barrier %d at %s:%d is for %d threads here, for %d elsewhere", id, base_name(place.file), place.line, threads, b.threads);
    b.threads = threads;
  } else {
    threads = s.alive;
  }
  if (++b.arrived == threads) {
    b.arrived = 0;
    release(s, b.waiting);
    // whoever goes on first is left to chance
    if (wait && s.random() & 1) {
      s.make_ready(me >> 5, 1u << (me & 31));
      wait_here(place, id ? "barrier" : nullptr, (uint32_t)id);
    }
    return;
  }
  if (!wait) return;
  b.waiting[me >> 5] |= 1u << (me & 31);
  wait_here(place, id ? "barrier" : nullptr, (uint32_t)id);
}

void collective(uint32_t mask, void* data, Complete complete, Place place) {
  State& s = state();
  const int me = s.current, lane = me & 31;
  Warp& w = s.warps_[me >> 5];
  const uint32_t bit = 1u << lane;
  if (!(mask & bit)) fail("%s at %s:%d: mask %08x leaves out the calling lane %d", place.what, base_name(place.file), place.line, mask, lane);
  if (mask & ~w.exists) fail("%s at %s:%d: mask %08x names lanes that a block of %d threads does not have", place.what, base_name(place.file), place.line, mask, s.threads);
  if (mask & w.returned) fail("%s at %s:%d: mask %08x names lane %d, which has returned", place.what, base_name(place.file), place.line, mask, __builtin_ctz(mask & w.returned));
  w.lane[lane] = {mask, data, complete};
  if (!w.pending) {
    w.alike = true;
    w.at = w.lane[lane];
  } else if (w.at.mask != mask || w.at.complete != complete) {
    w.alike = false;
  }
  for (uint32_t others = w.alike ? 0 : w.pending & mask; others; others &= others - 1) {
    const int j = __builtin_ctz(others);
    const Lane& other = w.lane[j];
    if (!(other.mask & bit) || (other.mask == mask && other.complete == complete)) continue;
    const Place& there = s.thread[(me & ~31) + j].place;
    fail("warp %d diverges: lane %d is at %s (%s:%d, mask %08x), lane %d at %s (%s:%d, mask %08x)", me >> 5, lane, place.what, base_name(place.file), place.line, mask, j, there.what, base_name(there.file), there.line, other.mask);
  }
  w.pending |= bit;
  bool all = (w.pending & mask) == mask;
  for (uint32_t others = all && !w.alike ? mask : 0; others; others &= others - 1) all = all && w.lane[__builtin_ctz(others)].mask == mask;
  if (!all) return wait_here(place, "mask", mask);
  if (complete) {
    void* lanes[32];
    for (int i = 0; i < 32; i++) lanes[i] = w.lane[i].data;
    complete(lanes, mask);
  }
  w.pending &= ~mask;
  s.make_ready(me >> 5, mask & ~bit);
}

int run_threads(const char* name, const unsigned* grid, unsigned block, unsigned shared_bytes, void (*call)(void*), void* body) {
  static thread_local std::unique_ptr<State> storage;
  message[0] = 0;
  if (!storage) storage = std::make_unique<State>();
  State& s = *storage;
  own_state = &s;
  const uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
  if (block < 1 || block > MAX_THREADS) return set_message("%s: a block of %u threads; 1 to %d are possible", name, block, MAX_THREADS), 1;
  if (!blocks || grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) return set_message("%s: a grid of (%u, %u, %u) blocks; 1 to 2^31-1, 65535 and 65535 are possible", name, grid[0], grid[1], grid[2]), 1;
  if (shared_bytes > SHARED_LIMIT) return set_message("%s: %u bytes of dynamic shared memory; a block has %u", name, shared_bytes, SHARED_LIMIT), 1;
  if (!s.shared && !(s.shared = static_cast<uint8_t*>(map_memory(ARENA)))) return set_message("%s: no memory for the emulator's shared memory", name), 1;

  s.name = name;
  s.call = call;
  s.body = body;
  s.threads = (int)block;
  s.warps = (int)(block + 31) / 32;
  s.random_state = (seed_of(name) + ++s.launches * 0x9e3779b97f4a7c15ull) | 1;
  for (int i = 0; i < 4; i++) s.random();
  s.arrays.clear();
  s.dynamic_bytes = shared_bytes;
  s.static_base = s.static_cursor = (RESERVED + shared_bytes + 2047) / 1024 * 1024;
  s.static_bytes = 0;
  guard_fill(s.shared, RESERVED);
  guard_fill(s.shared + RESERVED + shared_bytes, s.static_base - RESERVED - shared_bytes);
  blockDim = {block, 1, 1};
  gridDim = {grid[0], grid[1], grid[2]};

  // blocks in a shuffled order: a stride without a common divisor visits each once
  uint64_t at = s.random() % blocks, stride = 1 + s.random() % blocks;
  while (greatest_divisor(stride, blocks) != 1) stride++;
  for (uint64_t i = 0; i < blocks; i++, at = (at + stride) % blocks) {
    blockIdx = {(unsigned)(at % grid[0]), (unsigned)(at / grid[0] % grid[1]), (unsigned)(at / grid[0] / grid[1])};
    if (!run_block(s)) {
      abandon(s);
      return 1;
    }
  }
  return 0;
}

}  // namespace emulate
}  // namespace drg

#include "matrix.inc"
#include "memory.inc"
#include "tensor.inc"

extern "C" const char* drg_emulate_message() { return drg::emulate::message; }
