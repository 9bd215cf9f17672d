#include "train/run_log.h"

#include <cerrno>

namespace grab {

StatusOr<std::unique_ptr<RunLog>> RunLog::Open(const std::string& path) {
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
