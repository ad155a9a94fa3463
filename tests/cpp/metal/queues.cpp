// Queues, events, failures that come late, and faults that are asked for. Also the counters.
#include "check.h"

#include <atomic>
#include <thread>

#include "metal/sim/testing.h"

using namespace test;

namespace {

const std::string source = R"(
  #include <metal_stdlib>
  using namespace metal;
  kernel void add_one(device float* x, uint i [[thread_position_in_grid]]) { x[i] += 1; }
  kernel void outside(device float* x, uint i [[thread_position_in_grid]]) { x[i + 1000] = 1; }
  kernel void slow(device float* x, uint i [[thread_position_in_grid]]) { for (int k = 0; k < 1000000; ++k) x[i] += 1; }
  kernel void mean(device const float* in, device float* out, uint i [[thread_position_in_grid]],
                   uint t [[thread_position_in_threadgroup]]) {
    threadgroup float held[64];
    held[t] = in[i] + in[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = held[63 - t] + simd_sum(1.0);
  }
)";

std::string error_of(const std::shared_ptr<CommandBuffer>& commands) {
  try {
    commands->wait();
  } catch (const DeviceError& e) {
    return e.what();
  }
  return "";
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::shared_ptr<CommandBuffer> commit(const std::shared_ptr<Queue>& queue, const std::string& kernel,
                                      const std::shared_ptr<Buffer>& b, const std::string& operation) {
  auto commands = queue->command_buffer();
  encode(commands, {source, kernel, {b}, {64}, {64}}, operation);
  commands->commit();
  return commands;
}

void order_and_events() {
  const auto first = device()->new_queue(), second = device()->new_queue();
  const auto x = buffer(std::vector<float>(64));
  const auto event = device()->new_event();
  const auto waits = second->command_buffer();
  waits->wait_for(event, 2);
  encode(waits, {source, "add_one", {x}, {64}, {64}});
  waits->commit();
  const auto signals = first->command_buffer();
  encode(signals, {source, "add_one", {x}, {64}, {64}});
  signals->barrier();
  encode(signals, {source, "add_one", {x}, {64}, {64}});
  signals->signal(event, 2);
  std::atomic<int> called{0};
  signals->commit([&](std::exception_ptr e) { called += e ? 100 : 1; });
  CHECK(error_of(waits).empty());
  CHECK(error_of(signals).empty());
  CHECK(called == 1);
  CHECK(event->value() == 2);
  CHECK(event->wait(2, 0) && !event->wait(3, 1));
  CHECK(values<float>(x)[5] == 3);
}

void failures_of_others() {
  const auto queue = device()->new_queue(), other = device()->new_queue();
  const auto x = buffer(std::vector<float>(64)), y = buffer(std::vector<float>(64)),
             z = buffer(std::vector<float>(64 * 64));
  const auto event = device()->new_event();
  commit(queue, "add_one", y, "before");
  const auto held = queue->command_buffer();  // until the others are committed
  const auto gate = device()->new_event();
  held->wait_for(gate, 1);
  encode(held, {source, "outside", {x}, {64}, {64}}, "bad");
  held->signal(event, 1);
  std::atomic<int> called{0};
  held->commit([&](std::exception_ptr e) { called += e ? 1 : 100; });
  const auto behind = commit(queue, "add_one", x, "behind");
  const auto depends = other->command_buffer();
  depends->wait_for(event, 1);
  encode(depends, {source, "add_one", {x}, {64}, {64}}, "depends");
  depends->commit();
  gate->signal(1);
  CHECK(contains(error_of(held), "[bad] write of 4 bytes out of bounds"));
  CHECK(called == 1);
  CHECK(contains(error_of(behind), "not executed, because one before it failed: [bad]"));
  CHECK(contains(error_of(depends), "what the command buffer waits for failed: [bad]"));
  CHECK(values<float>(x)[0] == 0 && values<float>(y)[0] == 1);
  CHECK(error_of(commit(queue, "add_one", x, "after")).empty());
  CHECK(error_of(commit(other, "add_one", x, "after")).empty());
  CHECK(values<float>(x)[0] == 2);
}

void injections() {
  const auto* api = mlx::core::metal::sim::test_api();
  CHECK(api != nullptr);
  using mlx::core::metal::sim::Injection;
  const auto queue = device()->new_queue();
  const auto x = buffer(std::vector<float>(64));
  api->inject(Injection::NoMemory, 2);
  const auto one = device()->allocate(16);
  bool thrown = false;
  try {
    device()->allocate(16);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(device()->allocate(16) != nullptr);
  api->inject(Injection::TimeOut, 1);
  CHECK(contains(error_of(commit(queue, "add_one", x, "late")), "ran out of time"));
  CHECK(error_of(commit(queue, "add_one", x, "next")).empty());
  api->inject(Injection::DeadQueue, 1);
  CHECK(contains(error_of(commit(queue, "add_one", x, "dead")), "the queue is dead"));
  CHECK(contains(error_of(commit(queue, "add_one", x, "dead")), "the queue is dead"));
  CHECK(error_of(commit(device()->new_queue(), "add_one", x, "fresh")).empty());
  CHECK(values<float>(x)[0] == 2);
}

void counters() {
  const auto* api = mlx::core::metal::sim::test_api();
  api->reset_counters();
  const auto in = buffer(std::vector<float>(256)), out = buffer(std::vector<float>(256));
  CHECK(run({source, "mean", {in, out}, {256}, {64}}) == "");
  const auto all = api->counters();
  CHECK(all.size() == 1);
  const auto& c = all.at(0);
  CHECK(c.kernel == "mean" && c.dispatches == 1 && c.threads == 256 && c.threadgroups == 4);
  CHECK(c.barriers == 4 && c.simd_operations == 8);
  CHECK(c.read == 1024 && c.unique_read == 1024 && c.written == 1024 && c.unique_written == 1024);
  CHECK(run({source, "add_one", {in}, {256}, {64}}) == "");
  CHECK(run({source, "slow", {in}, {1}, {1}}) == "");
  for (const auto& k : api->counters()) {
    if (k.kernel == "add_one") CHECK(k.read == 1024 && k.written == 1024);
    if (k.kernel == "slow") CHECK(k.unique_read == 4 && k.unique_written == 4);
  }
  const size_t before = api->allocated_bytes();
  {
    const auto b = device()->allocate(1000);
    CHECK(api->allocated_bytes() == before + 1000);
  }
  CHECK(api->allocated_bytes() == before);
}

template <class E>
bool throws(const std::function<void()>& f, const std::string& part) {
  try {
    f();
  } catch (const E& e) {
    return contains(e.what(), part);
  }
  return false;
}

void misuse() {
  const auto commands = device()->new_queue()->command_buffer();
  const auto x = buffer(std::vector<float>(4));
  using Bad = std::invalid_argument;
  CHECK(throws<Bad>([&] { commands->dispatch_threads({1}, {1}, "op"); }, "op has no pipeline"));
  CHECK(throws<Bad>([&] { commands->set_buffer(31, x, 0, 4); }, "index 31"));
  CHECK(throws<Bad>([&] { commands->set_buffer(0, x, 8, 9); }, "do not fit in a buffer of 16"));
  CHECK(throws<Bad>([&] { commands->set_bytes(0, x->contents(), 5000); }, "1 to 4096"));
  CHECK(throws<Bad>([&] { commands->wait(); }, "was not committed"));
  CHECK(throws<Bad>([&] { device()->compile("kernel void f( {", "bad.metal"); }, "bad.metal:1"));
  CHECK(throws<Bad>(
            [&] { device()->compile("kernel void f(device float* x) { x[0] = undeclared; }", "bad.metal"); },
            "'undeclared'") ||
        throws<Bad>(
            [&] { device()->compile("kernel void f(device float* x) { x[0] = undeclared; }", "bad.metal"); },
            "undeclared"));
  CHECK(throws<Bad>([&] { device()->compile("kernel void f(device double* x) {}", "bad.metal"); },
                    "bad.metal:1: error: the Metal Shading Language has no double"));
  CHECK(throws<Bad>([&] { device()->compile(source, "s")->pipeline("nothing"); }, "has no kernel nothing"));
  CHECK(
      throws<Bad>([&] { device()->allocate(device()->info().max_buffer_length + 1); }, "max_buffer_length"));
  CHECK(device()->wrap(static_cast<char*>(x->contents()) + 1, 16384) == nullptr);
  commands->commit();
  CHECK(throws<Bad>([&] { commands->barrier(); }, "committed already"));
  commands->wait();
}

}  // namespace

int main() {
  order_and_events();
  failures_of_others();
  injections();
  counters();
  misuse();
  return report();
}
