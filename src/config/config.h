// Config files: TOML in, settings (config/settings.h) out, and back.
//
// Every error about a config is an InvalidArgument (NotFound for a missing file) of one line:
//   FILE:LINE:COLUMN: KEY: what is wrong, what was expected and got, the nearest valid name
// For an override FILE:LINE:COLUMN is "--set KEY". Elements of lists appear in keys by their index
// from 0: field.3.dim.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "config/settings.h"

namespace grab {

inline constexpr uint64_t kConfigBytesMax = 16 << 20;

// Reads `path`, applies `overrides` in order and checks the result with CheckConfig.
//
// An override is "key=value". Lists of tables are entered by index or by the element's name:
// "field.video_id.dim=8", "grab.model.channel.0.window_len=100". Text may stand without quotes;
// everything else is written as in TOML: "grab.model.head_hidden=[64, 32]".
StatusOr<Config> LoadConfig(const std::string& path, const std::vector<std::string>& overrides);

// The same from text that came from `file`, which only messages use. Types, ranges and words are
// checked, what CheckConfig looks at is not.
StatusOr<Config> ParseConfig(absl::string_view toml, const std::string& file,
                             const std::vector<std::string>& overrides);

// What no single setting can tell: names that refer to each other, sizes that must fit. The message
// starts with the key.
Status CheckConfig(const Config& config);

// The effective config as TOML: every setting, defaults included. ParseConfig gives an equal config
// back.
std::string DumpConfig(const Config& config);

// All settings as Markdown: docs/config.md.
std::string ConfigDocs();

// Unix ms of an ISO 8601 time with offset, "2022-04-25T00:00:00+08:00" or "...Z"; finer than a
// millisecond is an error.
StatusOr<int64_t> ParseTimeMs(absl::string_view iso8601);
// As ISO 8601 in UTC, to the second.
std::string FormatTimeMs(int64_t time_ms);

}  // namespace grab
