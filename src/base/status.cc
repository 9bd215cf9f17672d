#include "base/status.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace grab {

Status CorruptFile(absl::string_view file, uint64_t offset, absl::string_view detail) {
  return absl::DataLossError(absl::StrCat(file, ": at byte ", offset, ": ", detail));
}

Status FileError(absl::string_view file, absl::string_view action, int error_number) {
  const std::string message =
      absl::StrCat(file, ": cannot ", action, ": ", std::strerror(error_number));
  if (error_number == ENOENT) return absl::NotFoundError(message);
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::UnavailableError(message);
}

Status Annotate(const Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace grab
