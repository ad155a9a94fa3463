// Streams: queues of work on a device. Synchronous evaluation runs on the caller's thread whatever the
// stream; asynchronous evaluation is queued.
#pragma once

#include <optional>
#include <vector>

#include "mlx/device.h"

namespace mlx::core {

struct Stream {
  int index;
  Device device;
  explicit Stream(int index, Device device) : index(index), device(device) {}
  bool operator==(const Stream& other) const = default;
  bool operator<(const Stream& rhs) const {
    return device == rhs.device ? index < rhs.index : device < rhs.device;
  }
};

// A stream that is another one in each thread that uses it.
struct ThreadLocalStream {
  int index;
  Device device;
  explicit ThreadLocalStream(int index, Device device) : index(index), device(device) {}
  bool operator==(const ThreadLocalStream& other) const = default;
};

Stream default_stream(Device d);
std::optional<Stream> peek_default_stream(Device d);
void set_default_stream(Stream s);
Stream new_stream(Device d);
inline Stream new_stream() { return new_stream(default_device()); }
Stream new_thread_unsafe_stream(Device d);
ThreadLocalStream new_thread_local_stream(Device d);
Stream stream_from_thread_local_stream(ThreadLocalStream tls);
std::vector<Stream> get_streams();
// Waits until queued work is done; an error that it met is raised when one of its arrays is evaluated again.
void synchronize();
void synchronize(Stream);
void synchronize(ThreadLocalStream);
void clear_streams();

}  // namespace mlx::core
