#include "mlx/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <random>
#include <stdexcept>
#include <system_error>

#include "mlx/graph/interrupt.h"
#include "mlx/io/text.h"

namespace mlx::core::io {
namespace {

// One call of the system at most: macOS takes less than 2 GiB, and Ctrl-C is answered in between.
constexpr size_t kPiece = size_t{64} << 20;

std::runtime_error failure(const std::string& function, const std::string& what, const std::string& path,
                           int error) {
  return std::runtime_error("[" + function + "] " + what + " " + in_quotes(path) + ": " +
                            std::generic_category().message(error));
}

// Repeats a system call that a signal interrupted; Ctrl-C is answered by an exception.
template <class F>
auto retry(F&& call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
    check_interrupt();
  }
}

// The place of the next byte after a seek; nothing where that is before the first one.
std::optional<size_t> sought(size_t position, size_t size, int64_t off, std::ios_base::seekdir way) {
  const size_t base = way == std::ios_base::beg ? 0 : way == std::ios_base::cur ? position : size;
  if (off < 0 && size_t{0} - static_cast<size_t>(off) > base) return std::nullopt;
  return base + static_cast<size_t>(off);
}

// The file that a path means in the end, which need not exist.
std::string follow_links(const std::string& path) {
  std::filesystem::path at = path;
  std::error_code error;
  for (int i = 0; i < 40 && std::filesystem::is_symlink(at, error); ++i) {
    const std::filesystem::path next = std::filesystem::read_symlink(at, error);
    if (error) break;
    at = at.parent_path() / next;  // which is `next` where that is absolute
  }
  return at.string();
}

// A name in the same folder, so that renaming stays within one file system.
std::string name_beside(const std::string& target) {
  static std::atomic<unsigned> count{0};
  const std::string name = ".mlx-" + std::to_string(getpid()) + "-" + std::to_string(count++) + "-" +
                           std::to_string(std::random_device()()) + ".tmp";
  return (std::filesystem::path(target).parent_path() / name).string();
}

}  // namespace

int Descriptor::close() {
  if (fd_ < 0) return 0;
  const int error = ::close(fd_) < 0 ? errno : 0;
  fd_ = -1;
  // The descriptor is gone after EINTR as well, and the data are with the system.
  return error == EINTR ? 0 : error;
}

FileReader::FileReader(std::string path, std::string function)
    : path_(std::move(path)), function_(std::move(function)) {
  // Opening a pipe without O_NONBLOCK would wait for a writer; it makes no difference to regular files.
  file_.reset(retry([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  if (!is_open()) throw failure(function_, "cannot open", path_, errno);
  struct stat info;
  if (fstat(file_.get(), &info) < 0) throw failure(function_, "cannot open", path_, errno);
  if (S_ISDIR(info.st_mode)) throw failure(function_, "cannot open", path_, EISDIR);
  if (!S_ISREG(info.st_mode))
    throw std::runtime_error("[" + function_ + "] " + in_quotes(path_) +
                             " is a device or a pipe, expected a file");
}

size_t FileReader::size() const {
  struct stat info;
  if (fstat(file_.get(), &info) < 0) throw failure(function_, "cannot read", path_, errno);
  return static_cast<size_t>(info.st_size);
}

void FileReader::seek(int64_t off, std::ios_base::seekdir way) {
  const auto place = sought(position_, way == std::ios_base::end ? size() : 0, off, way);
  if (!place) throw failure(function_, "cannot seek in", path_, EINVAL);
  position_ = *place;
}

void FileReader::read(char* data, size_t n) {
  read(data, n, position_);
  position_ += n;
}

void FileReader::read(char* data, size_t n, size_t offset) {
  while (n > 0) {
    const ssize_t got =
        retry([&] { return ::pread(file_.get(), data, std::min(n, kPiece), static_cast<off_t>(offset)); });
    if (got < 0) throw failure(function_, "cannot read", path_, errno);
    if (got == 0) {  // the end itself, not where this reader of many met it
      const size_t end = size();
      throw std::runtime_error("[" + function_ + "] " + in_quotes(path_) + " ends at byte " +
                               std::to_string(end) + ", expected " +
                               std::to_string(offset + n - std::min(end, offset + n)) + " more bytes");
    }
    data += got;
    offset += static_cast<size_t>(got);
    n -= static_cast<size_t>(got);
  }
}

FileWriter::FileWriter(std::string path, std::string function)
    : path_(std::move(path)), function_(std::move(function)) {
  struct stat old;
  const bool exists = ::stat(path_.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) fail("cannot write", errno);
  if (exists && S_ISDIR(old.st_mode)) fail("cannot write", EISDIR);
  if (exists && !S_ISREG(old.st_mode)) {
    file_.reset(retry([&] { return ::open(path_.c_str(), O_WRONLY | O_CLOEXEC); }));
    if (!is_open()) fail("cannot write", errno);
    return;
  }
  // Renaming asks for the folder's permission only; a file that is write-protected stays as it is all the
  // same.
  if (exists && ::access(path_.c_str(), W_OK) < 0) fail("cannot write", errno);
  target_ = follow_links(path_);
  const std::string temporary = name_beside(target_);
  file_.reset(
      retry([&] { return ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
  if (!is_open()) fail("cannot write", errno);
  temporary_ = temporary;
  if (exists) {
    // The owner first, as changing it clears mode bits. Not being allowed to keep it is no reason to fail.
    if (::fchown(file_.get(), old.st_uid, old.st_gid) < 0) errno = 0;
    if (::fchmod(file_.get(), old.st_mode & 07777) < 0) errno = 0;
  }
}

FileWriter::~FileWriter() {
  file_.close();
  if (replaces()) ::unlink(temporary_.c_str());
}

void FileWriter::fail(const char* what, int error) const { throw failure(function_, what, path_, error); }

size_t FileWriter::tell() {
  const off_t at = ::lseek(file_.get(), 0, SEEK_CUR);
  if (at < 0) fail("cannot seek in", errno);
  return static_cast<size_t>(at);
}

void FileWriter::seek(int64_t off, std::ios_base::seekdir way) {
  const int whence = way == std::ios_base::beg ? SEEK_SET : way == std::ios_base::cur ? SEEK_CUR : SEEK_END;
  if (::lseek(file_.get(), static_cast<off_t>(off), whence) < 0) fail("cannot seek in", errno);
}

void FileWriter::write(const char* data, size_t n) {
  while (n > 0) {
    const ssize_t put = retry([&] { return ::write(file_.get(), data, std::min(n, kPiece)); });
    if (put < 0) fail("cannot write", errno);
    if (put == 0) fail("cannot write", ENOSPC);
    data += put;
    n -= static_cast<size_t>(put);
    check_interrupt();
  }
}

void FileWriter::finish() {
  if (const int error = file_.close()) fail("cannot write", error);
  if (!replaces()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) < 0) fail("cannot write", errno);
  temporary_.clear();
}

}  // namespace mlx::core::io
