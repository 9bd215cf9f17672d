// Whole files and durable writes. A file written by WriteFileDurably either has its full content or
// does not exist under its name; a directory written to `dir.tmp` and committed exists under its
// name only when complete.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace grab {

// The whole file; larger than `bytes_max` is an error and takes no memory.
StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max);

// Writes `path`.tmp, syncs it, renames it over `path`, syncs the folder.
Status WriteFileDurably(const std::string& path, absl::string_view content);

// Syncs every file in `tmp_dir` and the folder, then renames it to `dir` (which must not exist) and
// syncs the parent.
Status CommitDirectory(const std::string& tmp_dir, const std::string& dir);

// Renames over whatever `to` is and syncs the folder of `to`: after an OK the new name survives a
// power cut. Both in one file system; syncing what `from` holds is the caller's.
Status RenameDurably(const std::string& from, const std::string& to);

Status MakeDirectories(const std::string& path);
Status RemoveAll(const std::string& path);
bool Exists(const std::string& path);

// Names of the entries of `dir`, sorted.
StatusOr<std::vector<std::string>> ListDirectory(const std::string& dir);

std::string JoinPath(absl::string_view dir, absl::string_view name);

// A file open for reading at offsets. Thread-compatible; Read is const and may be called
// concurrently.
class RandomAccessFile {
 public:
  // A folder, FIFO, socket or device is an InvalidArgument; none of them blocks.
  static StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  // Reads exactly `bytes` at `offset` into `out`; fewer available is a DataLoss naming the place.
  Status Read(uint64_t offset, uint64_t bytes, void* out) const;
  uint64_t size_bytes() const { return size_bytes_; }
  const std::string& path() const { return path_; }

 private:
  RandomAccessFile(std::string path, int fd, uint64_t size_bytes)
      : path_(std::move(path)), fd_(fd), size_bytes_(size_bytes) {}
  std::string path_;
  int fd_;
  uint64_t size_bytes_;
};

// A new file written in sequence; every write is checked. After the first failed Append nothing
// more is written, and every later Append and Close returns its error. Close() syncs; a writer
// destroyed unclosed leaves a partial file.
class SequentialFile {
 public:
  static StatusOr<std::unique_ptr<SequentialFile>> Create(const std::string& path);
  ~SequentialFile();
  SequentialFile(const SequentialFile&) = delete;
  SequentialFile& operator=(const SequentialFile&) = delete;

  Status Append(const void* data, uint64_t bytes);
  Status Append(absl::string_view text) { return Append(text.data(), text.size()); }
  Status Close();  // once
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  SequentialFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  std::string path_;
  std::FILE* file_;
  uint64_t size_bytes_ = 0;
  Status failed_;  // the first failed write
};

}  // namespace grab
