// Status of everything that can fail for a reason outside our code. A message names the file, the
// place, what was expected and what was found; the category tells the caller whose fault it is:
//   InvalidArgument  config, command line, request     NotFound  a file or key that should be there
//   DataLoss         a file that is torn or corrupt     Unavailable / ResourceExhausted / Internal
//   the environment
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace grab {

using absl::Status;
using absl::StatusOr;

// "FILE: at byte OFFSET: DETAIL", for readers of binary files.
Status CorruptFile(absl::string_view file, uint64_t offset, absl::string_view detail);

// The error of a system call on `file`, with errno's text: "FILE: cannot ACTION: No such file or
// directory".
Status FileError(absl::string_view file, absl::string_view action, int error_number);

// Prefixes the message of a failed status with "CONTEXT: "; an OK status passes through.
Status Annotate(const Status& status, absl::string_view context);

}  // namespace grab

#define GRAB_CONCAT_INNER(a, b) a##b
#define GRAB_CONCAT(a, b) GRAB_CONCAT_INNER(a, b)

#define GRAB_RETURN_IF_ERROR(expression)        \
  do {                                          \
    ::absl::Status grab_status_ = (expression); \
    if (!grab_status_.ok()) [[unlikely]]        \
      return grab_status_;                      \
  } while (false)

#define GRAB_ASSIGN_OR_RETURN(target, expression) \
  GRAB_ASSIGN_OR_RETURN_INNER(GRAB_CONCAT(grab_status_or_, __LINE__), target, expression)

#define GRAB_ASSIGN_OR_RETURN_INNER(holder, target, expression) \
  auto holder = (expression);                                   \
  if (!holder.ok()) [[unlikely]]                                \
    return holder.status();                                     \
  target = std::move(holder).value()
