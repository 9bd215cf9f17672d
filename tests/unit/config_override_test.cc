// --set: what it reaches, how values are read, and what it says when it cannot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config.h"
#include "support/config_flatten.h"

namespace grab {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kBase[] = R"(
name = "base"
[[events]]
name = "log"
fields = { video_id = "v" }
[[field]]
name = "video_id"
[[field]]
name = "hour"
[[grab.model.channel]]
name = "recent"
[[grab.model.channel]]
name = "long"
)";

StatusOr<Config> With(const std::vector<std::string>& overrides) {
  return ParseConfig(kBase, "f.toml", overrides);
}

// Each override changes exactly one setting: everything else stays as in the file.
TEST(Override, ChangesOneSettingOnly) {
  const struct {
    const char* text;
    const char* key;
    SettingVariant value;
  } cases[] = {
      {"grab.train.seed=3", "grab.train.seed", int64_t{3}},
      {"name=exp 1", "name", std::string("exp 1")},
      {"name=", "name", std::string()},
      {"name=7", "name", std::string("7")},
      {"name=\"a\\tb\"", "name", std::string("a\tb")},
      {"name='a\\tb'", "name", std::string("a\\tb")},
      {"name=a\"b", "name", std::string("a\"b")},
      {"name=a=b", "name", std::string("a=b")},
      {"name=two\nlines", "name", std::string("two\nlines")},
      {"data_dir=C:\\x", "data_dir", std::string("C:\\x")},
      {"field.video_id.dim=8", "field.0.dim", int64_t{8}},
      {"field.1.dim=8", "field.1.dim", int64_t{8}},
      {"grab.model.channel.0.window_len=100", "grab.model.channel.0.window_len", int64_t{100}},
      {"grab.model.channel.long.window_time_s=60", "grab.model.channel.1.window_time_s", 60.0},
      {"grab.model.head_hidden=[32, 16]", "grab.model.head_hidden", std::vector<int64_t>{32, 16}},
      {"grab.model.head_hidden=[]", "grab.model.head_hidden", std::vector<int64_t>{}},
      {"eval.slices=['hour']", "eval.slices", std::vector<std::string>{"hour"}},
      {"grab.model.target_mix=false", "grab.model.target_mix", false},
      {"grab.train.dense_lr=1e-4", "grab.train.dense_lr", 1e-4},
      {"grab.train.batch=impressions", "grab.train.batch", std::string("impressions")},
      {"events.log.fields.video_id=w", "events.0.fields", StringMap{{"video_id", "w"}}},
      {"events.0.fields.a.b=w", "events.0.fields", StringMap{{"a.b", "w"}, {"video_id", "v"}}},
      {"events.0.fields={ x = \"1\" }", "events.0.fields", StringMap{{"x", "1"}}},
  };
  const std::map<std::string, SettingVariant> before = Flatten(With({}).value());
  for (const auto& test : cases) {
    SCOPED_TRACE(test.text);
    const StatusOr<Config> config = With({test.text});
    ASSERT_TRUE(config.ok()) << config.status();
    std::map<std::string, SettingVariant> expected = before;
    ASSERT_EQ(expected.count(test.key), 1u);
    ASSERT_NE(expected[test.key], test.value) << "the case would pass without an override";
    expected[test.key] = test.value;
    EXPECT_EQ(Flatten(*config), expected);
  }
}

TEST(Override, ReplacesAListOfTables) {
  const StatusOr<Config> config = With({"grab.model.channel=[{ window_len = 9 }]"});
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->grab.model.channels.size(), 1u);
  EXPECT_EQ(config->grab.model.channels[0].window_len, 9);
  EXPECT_EQ(config->grab.model.channels[0].name, "");
}

TEST(Override, TheLastOneWins) {
  const StatusOr<Config> config = With({"grab.train.seed=3", "grab.train.seed=4"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->grab.train.seed, 4);
}

TEST(Override, Errors) {
  const struct {
    const char* text;
    const char* start;
    const char* part;
  } cases[] = {
      {"grab.train.sed=3", "--set grab.train.sed: ", "did you mean 'grab.train.seed'?"},
      {"train.seed=3", "--set train.seed: unknown key", "'dlrm.train' or 'din.train' or "},
      {"field.video_idd.dim=8", "--set field.video_idd.dim: ", "did you mean 'video_id'?"},
      {"field.video_id.dimm=8", "--set field.video_id.dimm: ", "'field.0.dim'"},
      {"field.2.dim=8", "--set field.2.dim: ", "field has 2 elements"},
      {"field.-1.dim=8", "--set field.-1.dim: ", "no element named '-1'"},
      {"field.video_id=8", "--set field.video_id: ", "field.0 is a table"},
      {"grab.model=8", "--set grab.model: ", "is a section"},
      {"grab.train.seed.x=8", "--set grab.train.seed.x: ", "is a whole number"},
      {"grab.train.seed=x", "--set grab.train.seed: ", "not valid TOML"},
      {"grab.train.seed='x'", "--set grab.train.seed: ", "expected whole number"},
      {"grab.train.seed=-1", "--set grab.train.seed: ", "0 to 9007199254740992"},
      {"grab.train.seed=", "--set grab.train.seed: ", "not valid TOML"},
      {"grab.train.seed=1\nx=2", "--set grab.train.seed: ", "expected one value"},
      {"grab.train.batch=pakced", "--set grab.train.batch: ", "did you mean 'packed'?"},
      {"field=[{ nmae = \"x\" }]", "--set field: ", "'field.0.name'"},
      {"name=\xff", "--set name: ", "not valid TOML"},
      {"grab.train.seed", "--set \"grab.train.seed\": ", "expected key=value"},
      {"=3", "--set \"=3\": ", "expected key=value"},
      {".x=3", "--set .x: ", "unknown key"},
      {"grab..seed=3", "--set grab..seed: ", "unknown key"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.text);
    const StatusOr<Config> config = With({test.text});
    ASSERT_FALSE(config.ok());
    EXPECT_TRUE(absl::IsInvalidArgument(config.status()));
    const std::string message(config.status().message());
    EXPECT_THAT(message, StartsWith(test.start));
    EXPECT_THAT(message, HasSubstr(test.part));
    EXPECT_THAT(message, Not(HasSubstr("\n")));
  }
}

}  // namespace
}  // namespace grab
