// The files of the repository that must agree with the settings.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "base/file.h"
#include "config/config.h"
#include "support/config_flatten.h"

namespace grab {
namespace {

TEST(ConfigFiles, AllLoad) {
  const std::string dir = JoinPath(GRAB_SOURCE_DIR, "configs");
  const StatusOr<std::vector<std::string>> names = ListDirectory(dir);
  ASSERT_TRUE(names.ok()) << names.status();
  int loaded = 0;
  for (const std::string& name : *names) {
    if (!absl::EndsWith(name, ".toml")) continue;
    const StatusOr<Config> config = LoadConfig(JoinPath(dir, name), {});
    EXPECT_TRUE(config.ok()) << config.status();
    ++loaded;
  }
  EXPECT_GE(loaded, 1);
}

TEST(ConfigDocs, PageIsCurrent) {
  const std::string path = JoinPath(GRAB_SOURCE_DIR, "docs/config.md");
  const StatusOr<std::string> page = ReadFile(path, kConfigBytesMax);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, ConfigDocs()) << "write it again: grab config docs > docs/config.md";
}

// The keys of the settings themselves, not of the page, say what must be on it.
TEST(ConfigDocs, PageHasEverySetting) {
  Config config;
  config.sources.resize(1);
  config.events.resize(1);
  config.fields.resize(1);
  config.actions.resize(1);
  config.tasks.resize(1);
  config.dlrm.model.channels.resize(1);
  const std::string page = ConfigDocs();
  for (const auto& [key, value] : Flatten(config)) {
    const std::string leaf = key.substr(key.rfind('.') + 1);
    EXPECT_TRUE(absl::StrContains(page, absl::StrCat("| `", leaf, "` | "))) << key;
  }
}

}  // namespace
}  // namespace grab
