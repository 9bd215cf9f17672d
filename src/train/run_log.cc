#include "train/run_log.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace grab {
namespace {

// The bytes of a file up to its last newline.
StatusOr<uint64_t> WholeLinesBytes(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, RandomAccessFile::Open(path));
  std::string part;
  for (uint64_t end = file->size_bytes(); end > 0; end -= part.size()) {
    part.resize(std::min<uint64_t>(end, 4096));
    GRAB_RETURN_IF_ERROR(file->Read(end - part.size(), part.size(), part.data()));
    const size_t newline = part.rfind('\n');
    if (newline != std::string::npos) return end - part.size() + newline + 1;
  }
  return uint64_t{0};
}

Status DropTornLine(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(const uint64_t bytes, WholeLinesBytes(path));
  std::error_code error;
  std::filesystem::resize_file(path, bytes, error);
  return error ? FileError(path, "cut off a torn last line", error.value()) : absl::OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<RunLog>> RunLog::Open(const std::string& path) {
  if (Exists(path)) GRAB_RETURN_IF_ERROR(DropTornLine(path));
  std::FILE* file = std::fopen(path.c_str(), "abe");
  if (file == nullptr) return FileError(path, "open to append", errno);
  return std::unique_ptr<RunLog>(new RunLog(path, file));
}

RunLog::~RunLog() { std::fclose(file_); }

Status RunLog::Write(const nlohmann::json& line) {
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    return FileError(path_, "append", errno);
  }
  return absl::OkStatus();
}

}  // namespace grab
