#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/check.h"

namespace grab {
namespace {

Status SyncPath(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return FileError(path, "open to sync", errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  return result == 0 ? absl::OkStatus() : FileError(path, "sync", error);
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

const char* KindName(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max) {
  GRAB_ASSIGN_OR_RETURN(auto file, RandomAccessFile::Open(path));
  if (file->size_bytes() > bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is ", file->size_bytes(),
                                                   " bytes, at most ", bytes_max, " expected"));
  }
  std::string content(file->size_bytes(), '\0');
  GRAB_RETURN_IF_ERROR(file->Read(0, content.size(), content.data()));
  return content;
}

Status WriteFileDurably(const std::string& path, absl::string_view content) {
  const std::string tmp = path + ".tmp";
  {
    GRAB_ASSIGN_OR_RETURN(auto file, SequentialFile::Create(tmp));
    GRAB_RETURN_IF_ERROR(file->Append(content));
    GRAB_RETURN_IF_ERROR(file->Close());
  }
  return RenameDurably(tmp, path);
}

Status RenameDurably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return FileError(to, "rename into place", errno);
  return SyncPath(ParentOf(to), O_RDONLY | O_DIRECTORY);
}

Status CommitDirectory(const std::string& tmp_dir, const std::string& dir) {
  if (Exists(dir)) return absl::AlreadyExistsError(absl::StrCat(dir, ": already exists"));
  // Not a range-for: its increment throws.
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(tmp_dir, error);
  if (error) return FileError(tmp_dir, "list", error.value());
  while (entry != std::filesystem::recursive_directory_iterator()) {
    const std::string path = entry->path().string();
    const bool is_folder = entry->is_directory(error);
    if (error) return FileError(path, "stat", error.value());
    GRAB_RETURN_IF_ERROR(SyncPath(path, is_folder ? (O_RDONLY | O_DIRECTORY) : O_RDONLY));
    entry.increment(error);
    if (error) return FileError(path, "list what follows", error.value());
  }
  GRAB_RETURN_IF_ERROR(SyncPath(tmp_dir, O_RDONLY | O_DIRECTORY));
  return RenameDurably(tmp_dir, dir);
}

Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? FileError(path, "create the folder", error.value()) : absl::OkStatus();
}

Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? FileError(path, "remove", error.value()) : absl::OkStatus();
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

StatusOr<std::vector<std::string>> ListDirectory(const std::string& dir) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(dir, error);
  // A failed increment makes the iterator the end, so the error is looked at first.
  while (!error && entry != std::filesystem::directory_iterator()) {
    names.push_back(entry->path().filename().string());
    entry.increment(error);
  }
  if (error) return FileError(dir, "list", error.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::string JoinPath(absl::string_view dir, absl::string_view name) {
  return (std::filesystem::path(std::string(dir)) / std::string(name)).string();
}

StatusOr<std::unique_ptr<RandomAccessFile>> RandomAccessFile::Open(const std::string& path) {
  // Without O_NONBLOCK the open of a FIFO waits for a writer; regular files ignore the flag.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(path, "open", errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return FileError(path, "stat", error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a regular file, got ", KindName(info.st_mode)));
  }
  return std::unique_ptr<RandomAccessFile>(
      new RandomAccessFile(path, fd, static_cast<uint64_t>(info.st_size)));
}

RandomAccessFile::~RandomAccessFile() { ::close(fd_); }

Status RandomAccessFile::Read(uint64_t offset, uint64_t bytes, void* out) const {
  if (offset > size_bytes_ || bytes > size_bytes_ - offset) {
    return CorruptFile(path_, offset,
                       absl::StrCat("expected ", bytes, " bytes, the file has ", size_bytes_));
  }
  char* cursor = static_cast<char*>(out);
  uint64_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        ::pread(fd_, cursor + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path_, "read", errno);
    if (got == 0) return CorruptFile(path_, offset + done, "the file became shorter while read");
    done += static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<SequentialFile>> SequentialFile::Create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return FileError(path, "create", errno);
  return std::unique_ptr<SequentialFile>(new SequentialFile(path, file));
}

SequentialFile::~SequentialFile() {
  if (file_ != nullptr) std::fclose(file_);
}

Status SequentialFile::Append(const void* data, uint64_t bytes) {
  GRAB_CHECK(file_ != nullptr);
  GRAB_RETURN_IF_ERROR(failed_);
  if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) {
    return failed_ = FileError(path_, "write", errno);
  }
  size_bytes_ += bytes;
  return absl::OkStatus();
}

Status SequentialFile::Close() {
  GRAB_CHECK(file_ != nullptr);
  // After a failed write the flush may succeed, with a hole where that write was.
  const bool flushed = failed_.ok() && std::fflush(file_) == 0 && ::fsync(::fileno(file_)) == 0;
  const int error = errno;
  const bool closed = std::fclose(file_) == 0;
  const int close_error = errno;
  file_ = nullptr;
  GRAB_RETURN_IF_ERROR(failed_);
  if (!flushed) return FileError(path_, "write", error);
  return closed ? absl::OkStatus() : FileError(path_, "close", close_error);
}

}  // namespace grab
