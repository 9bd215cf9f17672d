// DumpConfig followed by ParseConfig gives the same settings, for random values of every setting
// within its range, and the edges of the ranges. Compared through the structs, not through text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "base/rng.h"
#include "config/config.h"
#include "support/config_flatten.h"

namespace grab {
namespace {

// Characters that TOML, our quoting and multi-line strings treat specially, beside plain ones.
std::string RandomText(Rng& rng) {
  static const char* const kPieces[] = {"a",   "Z",  "0",  " ",    "\"",   "\"\"\"", "'", "\\",
                                        "\\n", "\n", "\t", "\r",   "\r\n", "#",      "=", "[[",
                                        "}",   "é",  "中", "\x01", "\x7f", "%",      "."};
  std::string text;
  for (uint64_t n = rng.Below(12); n > 0; --n) text += kPieces[rng.Below(std::size(kPieces))];
  return text;
}

class Randomiser {
 public:
  explicit Randomiser(Rng& rng) : rng_(rng) {}

  void Fill(bool& member, const Constraint&) { member = rng_.Bernoulli(0.5); }
  void Fill(int64_t& member, const Constraint& range) {
    const double low = std::max(range.min, -1e15);
    const double high = std::min(range.max, 1e15);
    const uint64_t pick = rng_.Below(4);
    if (pick == 0) {
      member = static_cast<int64_t>(low);
    } else if (pick == 1) {
      member = static_cast<int64_t>(high);
    } else {
      member = static_cast<int64_t>(std::floor(low + rng_.Uniform() * (high - low)));
    }
  }
  // Either anywhere in the range or, by a random power of ten, with an awkward exponent.
  void Fill(double& member, const Constraint& range) {
    const double low = std::max(range.min, -1e300);
    const double high = std::min(range.max, 1e300);
    const uint64_t pick = rng_.Below(4);
    if (pick == 0) {
      member = low;
    } else if (pick == 1) {
      member = high;
    } else if (pick == 2) {
      member = low + rng_.Uniform() * (std::min(high, 1e6) - low);
    } else {
      member = std::clamp(rng_.Normal() * std::pow(10.0, rng_.Uniform() * 40.0 - 20.0), low, high);
    }
  }
  void Fill(std::string& member, const Constraint& range) {
    member = range.words.empty() ? RandomText(rng_) : range.words[rng_.Below(range.words.size())];
  }
  template <class T>
  void Fill(std::vector<T>& member, const Constraint& range) {
    member.resize(rng_.Below(4));
    for (T& element : member) Fill(element, range);
  }
  void Fill(StringMap& member, const Constraint&) {
    member.clear();
    for (uint64_t n = rng_.Below(4); n > 0; --n) member[RandomText(rng_)] = RandomText(rng_);
  }

  template <class T>
  void Setting(const char*, T& member, const char*, const Constraint& range) {
    Fill(member, range);
  }
  template <class S>
  void Section(const char*, S& section, const char*) {
    section.Visit(*this);
  }
  template <class S>
  void List(const char*, std::vector<S>& list, const char*) {
    list.resize(rng_.Below(4));
    for (S& element : list) element.Visit(*this);
  }

 private:
  Rng& rng_;
};

TEST(DumpConfig, ReadsBackEqual) {
  const std::map<std::string, SettingVariant> defaults = Flatten(Config());
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Rng rng(seed);
    Config config;
    Randomiser randomiser(rng);
    config.Visit(randomiser);
    const std::map<std::string, SettingVariant> expected = Flatten(config);
    ASSERT_NE(expected, defaults);
    const std::string text = DumpConfig(config);
    const StatusOr<Config> again = ParseConfig(text, "dump.toml", {});
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
    ASSERT_EQ(Flatten(*again), expected) << text;
    ASSERT_EQ(DumpConfig(*again), text);
  }
}

TEST(DumpConfig, DefaultsReadBackEqual) {
  const StatusOr<Config> again = ParseConfig(DumpConfig(Config()), "dump.toml", {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Flatten(*again), Flatten(Config()));
}

// Complete: a dump names every setting, so that a saved run does not change with later defaults.
TEST(DumpConfig, NamesEverySetting) {
  const std::string text = absl::StrCat("\n", DumpConfig(Config()));
  for (const auto& [key, value] : Flatten(Config())) {
    const std::string leaf = key.substr(key.rfind('.') + 1);
    EXPECT_TRUE(absl::StrContains(text, absl::StrCat("\n", leaf, " = "))) << key;
  }
}

}  // namespace
}  // namespace grab
