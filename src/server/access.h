// Who may call what: bearer tokens with rights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace grab {

enum class Right : uint8_t { kNone = 0, kRank = 1, kObserve = 2, kAdmin = 4 };

class Access {
 public:
  // Everybody may do everything.
  Access() = default;
  // From lines "TOKEN RIGHT[,RIGHT]..." of rights rank, observe, admin; '#' starts a comment.
  // `file` is for messages, which never hold a token. A token has at least kTokenBytesMin bytes.
  static StatusOr<Access> FromText(absl::string_view text, const std::string& file);

  bool open() const { return tokens_.empty(); }

  // Of an Authorization header, "Bearer TOKEN", empty if there is none. UNAUTHENTICATED without a
  // known token, PERMISSION_DENIED when it lacks the right. Takes as long for every token of a
  // length.
  Status Check(Right right, absl::string_view authorization) const;

 private:
  struct Token {
    std::string text;
    uint8_t rights = 0;
  };
  std::vector<Token> tokens_;
};

inline constexpr size_t kTokenBytesMin = 16;

}  // namespace grab
