// metal/apple through the stand-in: what it sends, what comes back, what goes wrong, and that nothing is left
// over. Runs itself again for what ends a process.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "metal/apple/apple.h"
#include "tests/metal/apple.h"

using namespace apple_tests;

namespace {

// Each message and enumerator is the interface's.
void test_types() {
  const auto types = control<const char*(const char*, char, const char*)>("standin_types");
  for (const auto& m : apple::all_messages()) {
    const bool of_class = m.receiver[0] == '+';
    const std::string expected = types(m.receiver + of_class, of_class ? '+' : '-', m.selector);
    check(expected == m.types, std::string(m.receiver) + " " + m.selector + " has types " + m.types +
                                   ", the interface says '" + expected + "'");
  }
  check(apple::all_messages().size() > 50, "messages are known");
  const auto value = control<long(const char*, const char*)>("standin_value");
  for (const auto* e : apple::kEnumerators)
    check(value(e->type, e->name) == e->value, std::string(e->type) + " " + e->name);
}

void test_device() {
  const DeviceInfo& info = gpu->info();
  check(!info.name.empty() && !info.architecture.empty(), "names");
  check(
      info.family >= 7 && info.max_threads_per_threadgroup.x == 1024 && info.max_threadgroup_memory == 32768,
      "limits of " + info.name);
  check(info.recommended_working_set > 0 && info.memory_size > 0, "sizes");
  contains(error_of<std::invalid_argument>([&] { gpu->allocate(info.max_buffer_length + 1); }),
           "[allocate] got");
  alignas(16) char unaligned[64];
  check(gpu->wrap(unaligned + 1, 32) == nullptr, "memory that is not page-aligned is not wrapped");
}

void test_run() {
  const auto library = gpu->compile(kSource, "test.metal");
  check(library->kernels().size() == 3, "kernels");
  const auto add = library->pipeline("add");
  check(add->simd_width() == 32 && add->max_threads_per_threadgroup() >= 256, "pipeline");
  const auto scale = library->pipeline("scale", {{0, uint32_t{3}}});
  const auto a = floats(std::vector<float>(1000, 2)), b = floats(std::vector<float>(1000, 5)),
             out = floats(std::vector<float>(1000, 0));
  const auto queue = gpu->new_queue();
  const auto event = gpu->new_event();
  std::atomic<int> called{0};
  auto commands = queue->command_buffer();
  commands->set_pipeline(add);
  int index = 0;
  for (const auto& buffer : {a, b, out})
    commands->set_buffer(static_cast<uint32_t>(index++), buffer, 0, buffer->length());
  commands->dispatch_threads({1000}, {256}, "Add");
  commands->barrier();
  commands->set_pipeline(scale);
  commands->set_buffer(0, out, 0, out->length());
  commands->set_value(1, 10.0f);
  commands->dispatch_threads({1000}, {256}, "Scale");
  commands->signal(event, 7);  // another encoder, in which everything is still set
  commands->dispatch_threads({1000}, {256}, "Scale");
  commands->commit([&](std::exception_ptr e) { called += e ? 100 : 1; });
  commands->wait();
  check(first(out) == 7 * 30 * 30, "result " + std::to_string(first(out)));
  check(called == 1, "the completion handler was called once, with null");
  check(event->value() == 7 && event->wait(7, 10) && !event->wait(8, 10), "event");
  contains(error_of<std::logic_error>([&] { commands->commit(); }),
           "[commit] the command buffer was committed");
  contains(error_of<std::logic_error>([&] { queue->command_buffer()->wait(); }), "[wait]");
  contains(error_of<std::invalid_argument>([&] {
             auto c = queue->command_buffer();
             c->set_pipeline(add);
             c->dispatch_threads({1}, {1025}, "Wide");
           }),
           "[Wide] kernel 'add' runs at most");
  contains(
      error_of<std::invalid_argument>([&] { queue->command_buffer()->set_buffer(0, a, 10, a->length()); }),
      "[set_buffer] got bytes 10 to 4010 of a buffer of 4000");
}

void test_errors() {
  contains(error_of<std::invalid_argument>([] { gpu->compile("kernel void f( {", "wrong.metal"); }),
           "wrong.metal does not compile");
  const auto library = gpu->compile(kSource, "test.metal");
  contains(error_of<std::invalid_argument>([&] { library->pipeline("nothing"); }),
           "test.metal has no kernel 'nothing'");

  const auto queue = gpu->new_queue();
  const auto x = floats({1, 2, 3});
  const auto run = [&](const char* kernel, const char* operation,
                       std::function<void(std::exception_ptr)> done = {}) {
    auto commands = queue->command_buffer();
    commands->set_pipeline(library->pipeline(kernel));
    for (uint32_t i = 0; i < 3; ++i) commands->set_buffer(i, x, 0, x->length());
    commands->dispatch_threads({1}, {1}, operation);
    commands->commit(std::move(done));
    commands->wait();
  };
  // A fault on the device, named by its operation; a handler that throws all the same ends nothing.
  std::atomic<int> called{0};
  contains(error_of<DeviceError>([&] {
             run("beyond", "Gather", [&](std::exception_ptr e) {
               called += e ? 1 : 100;
               throw std::runtime_error("from a handler");
             });
           }),
           "[Gather] the device stopped");
  check(called == 1 && first(x) == 1, "the handler got the error, and what was computed is still there");
  // Time-outs, no memory, a queue that is dead: the next command buffer gets a new queue.
  const auto fail = control<void(long)>("standin_fail_next");
  const auto add_error = [&] { return error_of<DeviceError>([&] { run("add", "Add"); }); };
  fail(2);
  contains(add_error(), "[Add] it took too long");
  fail(8);
  contains(add_error(), "[Add] there was not enough memory");
  fail(4);
  contains(add_error(), "[Add] the device refuses work");
  check(add_error() == "no error", "after a dead queue work goes on");
  check(first(x) == 2, "and has a result");
}

void test_capture() {
  unsetenv("MTL_CAPTURE_ENABLED");
  contains(error_of<std::runtime_error>([] { gpu->start_capture("/tmp/a.gputrace"); }),
           "MTL_CAPTURE_ENABLED");
  setenv("MTL_CAPTURE_ENABLED", "1", 1);
  contains(error_of<std::runtime_error>([] { gpu->stop_capture(); }), "[stop_capture] no capture");
  gpu->start_capture("/tmp/a.gputrace");
  contains(error_of<std::runtime_error>([] { gpu->start_capture("/tmp/a.gputrace"); }), "running already");
  gpu->stop_capture();
}

void test_watching() {
  using namespace apple;
  const Ref metal = Ref::owned(runtime().default_device());
  fault_of([&] { string("leaks"); }, "without a pool");
  Pool pool;
  const Ref queue = Ref::owned(mtl::new_queue(metal));
  const Ref descriptor = make("MTLCommandBufferDescriptor");
  const auto buffer = [&] { return mtl::command_buffer(queue, Id{descriptor}); };
  const auto encoder = [&](Id b) { return mtl::compute_encoder(b, UInteger{kConcurrent}); };
  fault_of(
      [&] {
        const Id e = encoder(buffer());
        mtl::end_encoding(e);
        mtl::barrier(e, UInteger{kBuffers});
      },
      "memoryBarrierWithScope: after endEncoding");
  fault_of(
      [&] {
        const Id b = buffer(), e = encoder(b);
        encoder(b);
        mtl::end_encoding(e);
      },
      "while another one is open");
  fault_of(
      [&] {
        const Id b = buffer();
        mtl::commit(b);
        mtl::wait(b);
        mtl::commit(b);
      },
      "commit after commit");
  fault_of(
      [&] {
        const Id e = encoder(buffer());
        mtl::dispatch_threads(e, Extent{1, 1, 1}, Extent{1, 1, 1});
        mtl::end_encoding(e);
      },
      "without a pipeline");
  fault_of(
      [&] {
        Pool inner;
        encoder(buffer());
      },
      "deallocated without endEncoding");
  faults();
  fault_of(
      [&] {
        const Id b = mtl::new_buffer(metal, 16ul, UInteger{kStorageShared});
        runtime().release(b);
        mtl::contents(b);
      },
      "-[MTLBuffer contents] was sent to a deallocated object");
  fault_of(
      [&] {
        const Id b = mtl::new_buffer(metal, 16ul, UInteger{kStorageShared});
        runtime().release(b);
        runtime().release(b);
      },
      "release of a deallocated MTLBuffer");
}

// What the process says before it dies.
std::string last_words(const std::function<void()>& f) {
  int ends[2];
  if (pipe(ends) != 0) return "";
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    f();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[256];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return text + (WIFSIGNALED(status) ? " aborted" : " lived");
}

void test_unknown_selectors() {
  using namespace apple;
  const Ref metal = Ref::owned(runtime().default_device());
  const auto say = last_words([&] { Message<void()>("MTLDevice", "renderEverything")(metal); });
  contains(say, "-[MTLDevice renderEverything]: unrecognized selector");
  contains(say, "aborted");
  contains(last_words([&] { Message<uint64_t()>("MTLDevice", "registryID")(metal); }),
           "-[MTLDevice registryID] is a method of Metal's that is not stood in for");
}

}  // namespace

int main(int argc, char**) {
  const char* file = std::getenv("MLX_STANDIN");
  if (!file) return std::printf("MLX_STANDIN names no library\n"), 1;
  contains(error_of<std::runtime_error>([] { apple::open_runtime("/nowhere.so"); }), "/nowhere.so");
  standin = dlopen(file, RTLD_NOW);
  older = argc > 1;
  if (older) {  // macOS 14 has no residency sets and no math modes
    const auto remove = control<void(const char*, const char*)>("standin_remove_method");
    remove("MTLDevice", "newResidencySetWithDescriptor:error:");
    remove("MTLCompileOptions", "setMathMode:");
  }
  gpu = apple::apple_device(file);
  check(gpu && standin, "there is a device");
  if (!gpu) return 1;
  control<void(bool)>("standin_watch_across_queues")(true);
  test_types();
  if (!older) test_watching_residency();
  const std::string before = live();
  std::vector<void (*)()> tests{test_device, test_run, test_errors, test_heaps, test_order, test_capture};
  if (!older) tests.push_back(test_residency);
  for (const auto& test : tests) {
    test();
    const std::string seen = faults();
    check(seen.empty(), "no misuse of Metal: " + seen);
  }
  const std::string after = live();
  check(after == "MTLCaptureManager 1\n" + before, "leaks: had\n" + before + "has\n" + after);
  test_watching_heaps();
  test_watching_order();
  test_watching();
  test_unknown_selectors();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures != 0;
}
