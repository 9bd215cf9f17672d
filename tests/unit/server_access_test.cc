// Tokens open what they say and nothing else.
#include <gtest/gtest.h>

#include "server/access.h"

namespace grab {
namespace {

constexpr char kRanker[] = "0123456789abcdef";
constexpr char kAll[] = "fedcba9876543210fedc";

TEST(AccessTest, GivesTheRightsOfTheToken) {
  const auto access = Access::FromText(
      absl::StrCat("# tokens\n", kRanker, " rank\n\n  ", kAll, "\trank,observe,admin # all\n"),
      "f");
  ASSERT_TRUE(access.ok()) << access.status();
  const auto check = [&](Right right, const std::string& header) {
    return access->Check(right, header);
  };
  EXPECT_TRUE(check(Right::kRank, absl::StrCat("Bearer ", kRanker)).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(check(Right::kObserve, absl::StrCat("Bearer ", kRanker))));
  EXPECT_TRUE(absl::IsPermissionDenied(check(Right::kAdmin, absl::StrCat("Bearer ", kRanker))));
  for (const Right right : {Right::kRank, Right::kObserve, Right::kAdmin}) {
    EXPECT_TRUE(check(right, absl::StrCat("Bearer ", kAll)).ok());
    for (const std::string& header :
         {std::string(), std::string("Bearer "), std::string("Bearer 0123456789abcdee"),
          std::string("bearer ") + kAll, std::string(kAll), std::string("Bearer ") + kAll + " "}) {
      EXPECT_TRUE(absl::IsUnauthenticated(check(right, header))) << header;
    }
  }
  EXPECT_TRUE(check(Right::kNone, "").ok());
}

TEST(AccessTest, WithoutTokensAllIsOpen) {
  const Access access;
  EXPECT_TRUE(access.open());
  EXPECT_TRUE(access.Check(Right::kAdmin, "").ok());
}

TEST(AccessTest, RefusesFilesThatAreWrongWithoutTellingTokens) {
  for (const std::string& text :
       {std::string(), std::string("# nothing\n"), std::string("short rank\n"),
        absl::StrCat(kRanker, "\n"), absl::StrCat(kRanker, " rank observe\n"),
        absl::StrCat(kRanker, " root\n"), absl::StrCat(kRanker, " rank,\n")}) {
    const Status status = Access::FromText(text, "tokens.txt").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
    EXPECT_EQ(status.ToString().find(kRanker), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace grab
