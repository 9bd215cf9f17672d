// Each way in which a file can be wrong, with the place, the key and the hint that the user sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "config/config.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct BadFile {
  const char* what;
  const char* toml;
  const char* place;  // line and column as an editor counts them, from 1
  std::vector<std::string> parts;
};

class BadFileTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadFileTest, SaysWhereAndWhat) {
  const BadFile& bad = GetParam();
  const StatusOr<Config> config = ParseConfig(bad.toml, "bad.toml", {});
  ASSERT_FALSE(config.ok()) << bad.what;
  EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
  const std::string message(config.status().message());
  EXPECT_THAT(message, StartsWith(std::string("bad.toml:") + bad.place + ": "));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  for (const std::string& part : bad.parts) EXPECT_THAT(message, HasSubstr(part));
}

const BadFile kBadFiles[] = {
    {"unknown_key",
     "[grab.model]\nlayer = 3\n",
     "2:1",
     {"grab.model.layer: unknown key", "did you mean 'grab.model.layers'?"}},
    {"unknown_section",
     "name = \"x\"\n[prepair]\nshards = 1\n",
     "2:2",
     {"prepair: unknown key", "'prepare'"}},
    {"unknown_key_of_list",
     "[[field]]\nname = \"a\"\n[[field]]\nname = \"b\"\nknid = \"id\"\n",
     "5:1",
     {"field.1.knid: unknown key", "'field.1.kind'"}},
    {"key_that_lives_elsewhere",
     "[train]\nseed = 1\n",
     "1:2",
     {"train: unknown key", "'dlrm.train' or 'din.train' or ", "or 'grab.train'"}},
    {"leaf_that_lives_elsewhere",
     "[grab.model]\nwindow_len = 3\n",
     "2:1",
     {"did you mean 'grab.model.channel.N.window_len'?"}},
    {"nothing_like_it", "[split]\nzzzzzz = 1\n", "2:1", {"known here: train_from, valid_from"}},
    {"text_for_number",
     "[grab.train]\nseed = \"3\"\n",
     "2:8",
     {"grab.train.seed: expected whole number, 0 to 9007199254740992, got text \"3\""}},
    {"fraction_for_whole",
     "[grab.train]\nseed = 3.0\n",
     "2:8",
     {"expected whole number", "got number 3"}},
    {"number_for_flag",
     "[grab.model]\ntarget_mix = 1\n",
     "2:14",
     {"grab.model.target_mix: expected true or false, got whole number 1"}},
    {"number_for_text", "name = 3\n", "1:8", {"name: expected text, got whole number 3"}},
    {"flag_for_number",
     "[grab.train]\nclip_norm = true\n",
     "2:13",
     {"expected number", "got true"}},
    {"date_for_text",
     "[split]\nend = 2022-04-25\n",
     "2:7",
     {"split.end: expected text, got a date or time"}},
    {"value_for_section", "grab = 3\n", "1:8", {"grab: expected a table"}},
    {"table_for_list", "[field]\nname = \"a\"\n", "1:1", {"expected tables, [[field]]"}},
    {"texts_for_tables", "field = [\"a\"]\n", "1:10", {"field.0: expected a table, got text"}},
    {"text_for_list", "[eval]\nslices = \"a\"\n", "2:10", {"expected list of texts"}},
    {"bad_element",
     "[eval]\nhistory_edges = [1, 2, \"x\"]\n",
     "2:24",
     {"eval.history_edges.2: expected whole number"}},
    {"element_out_of_range",
     "[grab.model]\nhead_hidden = [8, 0]\n",
     "2:19",
     {"grab.model.head_hidden.1: expected whole number, 1 to 65536, got whole number 0"}},
    {"list_for_map",
     "[[events]]\nfields = [1]\n",
     "2:10",
     {"events.0.fields: expected table of texts"}},
    {"number_in_map",
     "[[events]]\nfields = { a = 1 }\n",
     "2:16",
     {"events.0.fields.a: expected text"}},
    {"below_range", "[prepare]\nshards = 0\n", "2:10", {"1 to 4096, got whole number 0"}},
    {"above_range", "[prepare]\nshards = 4097\n", "2:10", {"1 to 4096, got whole number 4097"}},
    {"one_above_a_double",
     "[simulate]\nseed = 9007199254740993\n",
     "2:8",
     {"got whole number 9007199254740993"}},
    {"number_below_range",
     "[prepare]\nbad_fraction_max = -0.1\n",
     "2:20",
     {"prepare.bad_fraction_max: expected number, 0 to 1, got number -0.1"}},
    {"nan", "[prepare]\nbad_fraction_max = nan\n", "2:20", {"got number nan"}},
    {"inf", "[grab.train]\nclip_norm = inf\n", "2:13", {"expected number, at least 0, got"}},
    {"inf_without_range", "[[field]]\nboundaries = [inf]\n", "2:15", {"field.0.boundaries.0"}},
    {"word",
     "[[field]]\nkind = \"idz\"\n",
     "2:8",
     {"field.0.kind: expected one of id, ids, number, dense, cross, got \"idz\"", "'id'?"}},
    {"far_word", "[[field]]\nkind = \"sequence\"\n", "2:8", {"expected one of"}},
    {"nul", "name = \"a\\u0000b\"\n", "1:8", {"name: expected text without NUL"}},
    {"not_toml", "name = \"a\"\n[grab\n", "2:6", {"not valid TOML"}},
    {"twice", "name = \"a\"\nname = \"b\"\n", "2:8", {"not valid TOML", "name"}},
    {"not_utf8", "name = \"\xff\xfe\"\n", "1:8", {"not valid TOML"}},
};

INSTANTIATE_TEST_SUITE_P(Kinds, BadFileTest, testing::ValuesIn(kBadFiles),
                         [](const auto& test) { return test.param.what; });

// A message stays one short line whatever keys and values are: bound 1000 bytes, and the "...".
TEST(ParseConfig, MessagesAreOneShortLine) {
  const std::string huge(1 << 20, 'x');
  for (const std::string& toml :
       {"[[field]]\nkind = \"" + huge + "\"\n", huge + " = 1\n", "\"" + huge + "\\n\" = 1\n",
        std::string("\"a\\nb\\u0007\" = 1\n"), std::string("\"a\\nb\" = 1\n\"a\\nb\" = 2\n")}) {
    const StatusOr<Config> config = ParseConfig(toml, "f.toml", {});
    ASSERT_FALSE(config.ok());
    const std::string message(config.status().message());
    EXPECT_LE(message.size(), 1003u);
    EXPECT_TRUE(std::none_of(message.begin(), message.end(), [](unsigned char c) {
      return c < ' ';
    })) << message;
  }
}

TEST(ParseConfig, ReadsEveryTypeAndKeepsDefaults) {
  const StatusOr<Config> config = ParseConfig(R"(
name = "x"
[[source]]
name = "log"
files = ["a*.csv", "b.csv"]
header = false
[[events]]
fields = { a = "1", "b c" = "2" }
[grab.model]
time_max_s = 100
head_hidden = [32, 16]
[[grab.model.channel]]
window_len = 7
window_time_s = 1.5
)",
                                              "f.toml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "x");
  EXPECT_EQ(config->sources[0].files, (std::vector<std::string>{"a*.csv", "b.csv"}));
  EXPECT_FALSE(config->sources[0].header);
  EXPECT_EQ(config->events[0].fields, (StringMap{{"a", "1"}, {"b c", "2"}}));
  EXPECT_EQ(config->grab.model.time_max_s, 100.0);
  EXPECT_EQ(config->grab.model.head_hidden, (std::vector<int64_t>{32, 16}));
  EXPECT_EQ(config->grab.model.channels[0].window_len, 7);
  EXPECT_EQ(config->grab.model.channels[0].window_time_s, 1.5);
  EXPECT_EQ(config->grab.model.layers, ModelConfig().layers);
  EXPECT_EQ(config->dlrm.model.time_max_s, ModelConfig().time_max_s);
  EXPECT_EQ(config->sources[0].delimiter, ",");
}

TEST(LoadConfig, MissingFile) {
  const StatusOr<Config> config = LoadConfig("no/such/file.toml", {});
  EXPECT_TRUE(absl::IsNotFound(config.status())) << config.status();
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("no/such/file.toml"));
}

// What only CheckConfig sees is reported at its line too, or at the override that caused it.
TEST(LoadConfig, ProblemsOfMeaningHaveAPlace) {
  const std::string path = JoinPath(testing::TempDir(), absl::StrCat("cfg-", getpid(), ".toml"));
  ASSERT_TRUE(WriteFileDurably(path,
                               "name = \"x\"\n[grab.model]\nd_model = 30\n"
                               "heads = 4\n[[field]]\nname = \"a\"\nkind = \"dense\"\n")
                  .ok());
  EXPECT_THAT(std::string(LoadConfig(path, {}).status().message()),
              AllOf(StartsWith(path + ":5:1: field.0.width: "), HasSubstr("'a'")));
  EXPECT_THAT(std::string(LoadConfig(path, {"field.a.kind=id"}).status().message()),
              AllOf(StartsWith(path + ":4:9: grab.model.heads: "), HasSubstr("30")));
  EXPECT_THAT(
      std::string(LoadConfig(path, {"field.a.kind=id", "grab.model.heads=7"}).status().message()),
      StartsWith("--set grab.model.heads: grab.model.heads: "));
  const StatusOr<Config> good = LoadConfig(path, {"field.a.kind=id", "grab.model.heads=3"});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->grab.model.heads, 3);
  ASSERT_TRUE(RemoveAll(path).ok());
}

// Values from `date -u -d ... +%s`.
TEST(ParseTimeMs, KnownInstants) {
  EXPECT_EQ(ParseTimeMs("2022-04-25T00:00:00+08:00").value(), 1650816000000);
  EXPECT_EQ(ParseTimeMs("2022-04-24T16:00:00Z").value(), 1650816000000);
  EXPECT_EQ(ParseTimeMs("1970-01-01T00:00:00Z").value(), 0);
  EXPECT_EQ(ParseTimeMs("1970-01-01T00:00:00.250Z").value(), 250);
  EXPECT_EQ(ParseTimeMs("1969-12-31T23:59:59Z").value(), -1000);
}

TEST(ParseTimeMs, RefusesWhatIsNotOneInstant) {
  for (const char* text :
       {"", "2022-04-25", "2022-04-25T00:00:00", "2022-04-25 00:00:00Z", "infinite-future",
        "infinite-past", " 2022-04-25T00:00:00Z", "2022-04-25T00:00:00Z ", "2022-13-01T00:00:00Z",
        "2022-02-30T00:00:00Z", "2022-04-25T00:00:00.0001Z", "tomorrow", "1650816000000"}) {
    const StatusOr<int64_t> time = ParseTimeMs(text);
    EXPECT_TRUE(absl::IsInvalidArgument(time.status())) << text;
    EXPECT_THAT(std::string(time.status().message()), HasSubstr(text));
  }
}

}  // namespace
}  // namespace grab
