#include "server/access.h"

#include <map>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace grab {
namespace {

bool SameInConstantTime(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  volatile unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

const char* RightName(Right right) {
  switch (right) {
    case Right::kNone:
      return "none";
    case Right::kRank:
      return "rank";
    case Right::kObserve:
      return "observe";
    case Right::kAdmin:
      return "admin";
  }
  return "unknown";
}

StatusOr<uint8_t> ParseRights(absl::string_view text) {
  uint8_t rights = 0;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    uint8_t found = 0;
    for (const Right right : {Right::kRank, Right::kObserve, Right::kAdmin}) {
      if (word == RightName(right)) found = static_cast<uint8_t>(right);
    }
    if (found == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected rights of rank, observe, admin, got '", word, "'"));
    }
    rights = static_cast<uint8_t>(rights | found);
  }
  return rights;
}

}  // namespace

StatusOr<Access> Access::FromText(absl::string_view text, const std::string& file) {
  Access access;
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    const std::string place = absl::StrCat(file, ":", line_number);
    const std::vector<absl::string_view> words =
        absl::StrSplit(line.substr(0, line.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (words.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": expected TOKEN RIGHTS, got ", words.size(), " words"));
    }
    if (words[0].size() < kTokenBytesMin) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": expected a token of at least ",
                                                     kTokenBytesMin, " bytes, got ",
                                                     words[0].size()));
    }
    StatusOr<uint8_t> rights = ParseRights(words[1]);
    if (!rights.ok()) return Annotate(rights.status(), place);
    access.tokens_.push_back({std::string(words[0]), *rights});
  }
  if (access.tokens_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": no token: nobody could call; leave the file out to let all in"));
  }
  return access;
}

Status Access::Check(Right right, absl::string_view authorization) const {
  if (open() || right == Right::kNone) return absl::OkStatus();
  if (!absl::ConsumePrefix(&authorization, "Bearer ")) {
    return absl::UnauthenticatedError("authorization: expected 'Bearer TOKEN'");
  }
  const Token* found = nullptr;
  for (const Token& token : tokens_) {
    if (SameInConstantTime(token.text, authorization)) found = &token;
  }
  if (found == nullptr) return absl::UnauthenticatedError("authorization: the token is not known");
  if ((found->rights & static_cast<uint8_t>(right)) != 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("authorization: the token lacks the right '", RightName(right), "'"));
}

}  // namespace grab
