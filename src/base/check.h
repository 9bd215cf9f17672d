// Checks for our own bugs: a failed check aborts with its place. Bad input never ends here; it gets
// a Status.
#pragma once

#include "absl/strings/string_view.h"

namespace grab {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              absl::string_view detail);

}  // namespace grab

#define GRAB_CHECK(condition)                                  \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::grab::CheckFailed(__FILE__, __LINE__, #condition, ""); \
  } while (false)

// GRAB_CHECK with a detail, evaluated only on failure.
#define GRAB_CHECK_MSG(condition, detail)                          \
  do {                                                             \
    if (!(condition)) [[unlikely]]                                 \
      ::grab::CheckFailed(__FILE__, __LINE__, #condition, detail); \
  } while (false)
