#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "nlohmann/json_fwd.hpp"

namespace grab {

// JSON lines, appended and flushed one by one. A resumed run appends to what is there: lines after
// the checkpoint it continues from are repeated with the same "step". A last line that a kill or a
// full disk cut short goes when the log is opened.
class RunLog {
 public:
  static StatusOr<std::unique_ptr<RunLog>> Open(const std::string& path);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  Status Write(const nlohmann::json& line);

 private:
  RunLog(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  std::string path_;
  std::FILE* file_;
};

}  // namespace grab
