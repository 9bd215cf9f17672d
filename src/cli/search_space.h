// What `grab compare --search` tries, around the settings of the config (docs/protocols.md has the
// table). A trial draws one number per setting, the same for all models, so that those with one
// space try the same changes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/job.h"

namespace grab {

// How a setting is drawn.
enum class Draw : uint8_t {
  kLogUniform,  // the config's value times a factor between the two choices, log-uniform
  kTimes,       // the config's value times one of the choices
  kPlus,        // the config's value plus one of the choices
  kOneOf,       // one of the choices
};

struct SearchedSetting {
  std::string key;  // as of --set
  double config_value = 0.0;
  Draw draw = Draw::kOneOf;
  std::vector<double> choices;
  double min = 0.0, max = 0.0;  // what is drawn is kept within
  bool whole = false;
};

// The settings of a model, in the order in which they are drawn.
std::vector<SearchedSetting> SearchSpace(const Config& config, const Variant& model);

// `number` as the setting draws it: uniform in [0, 1).
double DrawnValue(const SearchedSetting& setting, double number);

// KEY=VALUE of every setting of trial `trial`, with three digits; none of trial 0, which is the
// config as it is.
std::vector<std::string> TrialSettings(const Config& config, const Variant& model, int64_t trial);

}  // namespace grab
