#include "model/spec.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_join.h"

namespace grab {
namespace {

StatusOr<ChannelSpec> MakeChannel(const ChannelConfig& config, const Schema& schema) {
  ChannelSpec channel;
  channel.name = config.name;
  channel.plan.window_len = config.window_len;
  channel.plan.window_time_ms = std::llround(config.window_time_s * 1000.0);
  for (const std::string& action : config.actions) {
    bool found = false;
    for (size_t i = 0; i < schema.actions.size(); ++i) {
      if (schema.actions[i] != action) continue;
      channel.plan.actions |= 1u << i;
      found = true;
    }
    if (!found) {
      return absl::InvalidArgumentError(absl::StrCat("channel '", config.name,
                                                     "': the shards have no action '", action,
                                                     "'; prepare them again"));
    }
  }
  return channel;
}

Status CheckRange(const char* name, double value, double min, double max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model spec: ", name, " is ", value, ", expected ", min, " to ", max));
}

Status CheckSearch(const ModelSpec& spec) {
  const SearchSpec& search = spec.search;
  GRAB_RETURN_IF_ERROR(CheckRange("search.recent", search.recent, 1, 1 << 20));
  GRAB_RETURN_IF_ERROR(CheckRange("search.found", search.found, 1, 1 << 20));
  GRAB_RETURN_IF_ERROR(CheckRange("search.hash_bits", search.hash_bits, 1, 64));
  const auto slots = static_cast<double>(spec.tokens.slots.size());
  GRAB_RETURN_IF_ERROR(CheckRange("search.slot", search.slot, -1, slots - 1));
  if (search.slot < 0) return absl::OkStatus();
  const TokenSlot& slot = spec.tokens.slots[static_cast<size_t>(search.slot)];
  if (slot.kind == SlotKind::kId && slot.partial && slot.full) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model.search.field: '", slot.name,
                   "' should be an id field that events and candidates both have"));
}

StatusOr<SearchSpec> MakeSearch(const SearchConfig& config, const TokenSpec& tokens) {
  SearchSpec search{config.recent, config.found, -1, config.hash_bits};
  if (config.field.empty()) return search;
  const TokenSlot* slot = tokens.FindSlot(config.field);
  if (slot == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.search.field: there is no field '", config.field, "'"));
  }
  search.slot = slot - tokens.slots.data();
  return search;
}

Status CheckSizes(const ModelSpec& spec) {
  GRAB_RETURN_IF_ERROR(CheckRange("tokenizer_hidden", spec.tokenizer_hidden, 1, 65536));
  GRAB_RETURN_IF_ERROR(CheckRange("d_model", spec.d_model, 1, 65536));
  GRAB_RETURN_IF_ERROR(CheckRange("tasks", spec.tasks.size(), 1, kTasksMax));
  GRAB_RETURN_IF_ERROR(CheckRange("embedding tables", spec.tokens.tables.size(), 1, 4096));
  GRAB_RETURN_IF_ERROR(CheckRange("full token width", spec.tokens.FullWidth(), 1, 1 << 20));
  for (const int64_t width : spec.head_hidden) {
    GRAB_RETURN_IF_ERROR(CheckRange("head_hidden", width, 1, 65536));
  }
  if (!HasHistory(spec.kind)) return CheckRange("channels", spec.channels.size(), 0, 0);
  GRAB_RETURN_IF_ERROR(CheckRange("partial token width", spec.tokens.PartialWidth(), 1, 1 << 20));
  const double channels_max = spec.kind == ModelKind::kGrab ? 64 : 1;
  GRAB_RETURN_IF_ERROR(CheckRange("channels", spec.channels.size(), 1, channels_max));
  GRAB_RETURN_IF_ERROR(CheckRange("layers", spec.layers, 1, 256));
  GRAB_RETURN_IF_ERROR(CheckRange("heads", spec.heads, 1, 256));
  GRAB_RETURN_IF_ERROR(CheckRange("ffn_hidden", spec.ffn_hidden, 1, 1 << 20));
  GRAB_RETURN_IF_ERROR(CheckRange("latent_width", spec.latent_width, 0, 65536));
  GRAB_RETURN_IF_ERROR(CheckRange("position_buckets", spec.position_buckets, 2, 4096));
  GRAB_RETURN_IF_ERROR(CheckRange("time_buckets", spec.time_buckets, 2, 4096));
  GRAB_RETURN_IF_ERROR(CheckRange("time_max_s", spec.time_max_s, 2, 1e12));
  for (const ChannelSpec& channel : spec.channels) {
    GRAB_RETURN_IF_ERROR(CheckRange("window_len", channel.plan.window_len, 0, 1 << 20));
    GRAB_RETURN_IF_ERROR(CheckRange("window_time_ms", channel.plan.window_time_ms, 0, 1e15));
  }
  if (spec.d_model % spec.heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: heads (", spec.heads,
                                                   ") must divide d_model (", spec.d_model, ")"));
  }
  return AttendsToChosen(spec.kind) ? CheckSearch(spec) : absl::OkStatus();
}

// What only models with history have.
Status AddHistory(const ModelConfig& model, const Schema& schema, ModelSpec& spec) {
  std::vector<ChannelConfig> channels = model.channels;
  if (channels.empty()) {
    channels.emplace_back();
    channels[0].name = "all";
  }
  for (const ChannelConfig& channel : channels) {
    GRAB_ASSIGN_OR_RETURN(ChannelSpec added, MakeChannel(channel, schema));
    spec.channels.push_back(std::move(added));
  }
  spec.layers = AttendsToChosen(spec.kind) ? 1 : model.layers;
  spec.heads = model.heads;
  spec.ffn_hidden = model.ffn_hidden;
  spec.position_buckets = model.position_buckets;
  spec.time_buckets = model.time_buckets;
  spec.time_max_s = model.time_max_s;
  spec.action_bias = model.action_bias;
  if (spec.kind == ModelKind::kGrab) {
    spec.latent_width = model.latent_width;
    spec.pre_norm = model.norm == "pre";
    spec.target_mix = model.target_mix;
  }
  if (!AttendsToChosen(spec.kind)) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(spec.search, MakeSearch(model.search, spec.tokens));
  return absl::OkStatus();
}

}  // namespace

PackPlan ModelSpec::Plan() const {
  PackPlan plan;
  plan.layers = static_cast<int>(std::max<int64_t>(1, layers));
  plan.bias_actions = bias_actions();
  for (const ChannelSpec& channel : channels) plan.channels.push_back(channel.plan);
  return plan;
}

StatusOr<ModelSpec> ModelSpec::FromConfig(const Config& config, ModelKind kind,
                                          const Schema& schema) {
  const ModelConfig& model = RunConfigOf(config, kind).model;
  ModelSpec spec;
  spec.kind = kind;
  GRAB_ASSIGN_OR_RETURN(spec.tokens, TokenSpec::FromConfig(config, schema, model.embedding_dim));
  spec.tasks = schema.tasks;
  spec.tokenizer_hidden = model.tokenizer_hidden;
  spec.d_model = model.d_model;
  spec.head_hidden = model.head_hidden;
  if (HasHistory(kind)) GRAB_RETURN_IF_ERROR(AddHistory(model, schema, spec));
  GRAB_RETURN_IF_ERROR(CheckSizes(spec));
  return spec;
}

nlohmann::json ModelSpec::ToJson() const {
  nlohmann::json channel_list = nlohmann::json::array();
  for (const ChannelSpec& channel : channels) {
    channel_list.push_back({{"name", channel.name},
                            {"actions", channel.plan.actions},
                            {"window_len", channel.plan.window_len},
                            {"window_time_ms", channel.plan.window_time_ms}});
  }
  nlohmann::json json = {{"format", "grab-model"},
                         {"version", 1},
                         {"kind", ModelKindName(kind)},
                         {"tokens", tokens.ToJson()},
                         {"tasks", tasks},
                         {"tokenizer_hidden", tokenizer_hidden},
                         {"d_model", d_model},
                         {"head_hidden", head_hidden},
                         {"channels", channel_list},
                         {"layers", layers},
                         {"heads", heads},
                         {"ffn_hidden", ffn_hidden},
                         {"position_buckets", position_buckets},
                         {"time_buckets", time_buckets},
                         {"time_max_s", time_max_s},
                         {"action_bias", action_bias},
                         {"pre_norm", pre_norm},
                         {"target_mix", target_mix}};
  if (latent_width > 0) json["latent_width"] = latent_width;
  if (AttendsToChosen(kind)) {
    json["search"] = {{"recent", search.recent},
                      {"found", search.found},
                      {"slot", search.slot},
                      {"hash_bits", search.hash_bits}};
  }
  return json;
}

StatusOr<ModelSpec> ModelSpec::FromJson(const nlohmann::json& json) {
  const auto invalid = [](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: ", what));
  };
  if (!json.is_object() || json.value("format", nlohmann::json()) != "grab-model") {
    return invalid("not a grab model");
  }
  if (json.value("version", nlohmann::json()) != 1) return invalid("version must be 1");
  // Types first, so that no read below can throw.
  const auto integer = [&](const char* key) {
    return json.contains(key) && json[key].is_number_integer();
  };
  for (const char* key : {"tokenizer_hidden", "d_model", "layers", "heads", "ffn_hidden",
                          "position_buckets", "time_buckets"}) {
    if (!integer(key)) return invalid(absl::StrCat("'", key, "' must be an integer"));
  }
  if (json.contains("latent_width") && !integer("latent_width")) {
    return invalid("'latent_width' must be an integer");
  }
  for (const char* key : {"tasks", "head_hidden", "channels"}) {
    if (!json.contains(key) || !json[key].is_array()) {
      return invalid(absl::StrCat("'", key, "' must be a list"));
    }
  }
  for (const char* key : {"action_bias", "pre_norm", "target_mix"}) {
    if (!json.contains(key) || !json[key].is_boolean()) {
      return invalid(absl::StrCat("'", key, "' must be a boolean"));
    }
  }
  if (!json.contains("time_max_s") || !json["time_max_s"].is_number() || !json.contains("kind") ||
      !json["kind"].is_string() || !json.contains("tokens")) {
    return invalid("'time_max_s', 'kind' or 'tokens' is missing or of the wrong type");
  }
  ModelSpec spec;
  GRAB_ASSIGN_OR_RETURN(spec.kind, ParseModelKind(json["kind"].get<std::string>()));
  GRAB_ASSIGN_OR_RETURN(spec.tokens, TokenSpec::FromJson(json["tokens"]));
  for (const nlohmann::json& task : json["tasks"]) {
    if (!task.is_string()) return invalid("a task must be text");
    spec.tasks.push_back(task.get<std::string>());
  }
  if (spec.tasks != spec.tokens.schema.tasks) return invalid("tasks differ from the schema's");
  for (const nlohmann::json& width : json["head_hidden"]) {
    if (!width.is_number_integer()) return invalid("'head_hidden' must hold integers");
    spec.head_hidden.push_back(width.get<int64_t>());
  }
  for (const nlohmann::json& channel : json["channels"]) {
    if (!channel.is_object() || !channel.contains("name") || !channel["name"].is_string()) {
      return invalid("malformed channel");
    }
    for (const char* key : {"actions", "window_len", "window_time_ms"}) {
      if (!channel.contains(key) || !channel[key].is_number_integer()) {
        return invalid(absl::StrCat("channel '", key, "' must be an integer"));
      }
    }
    spec.channels.push_back(
        {channel["name"].get<std::string>(),
         {channel["actions"].get<uint32_t>(), channel["window_len"].get<int64_t>(),
          channel["window_time_ms"].get<int64_t>()}});
  }
  spec.tokenizer_hidden = json["tokenizer_hidden"].get<int64_t>();
  spec.d_model = json["d_model"].get<int64_t>();
  spec.layers = json["layers"].get<int64_t>();
  spec.heads = json["heads"].get<int64_t>();
  spec.ffn_hidden = json["ffn_hidden"].get<int64_t>();
  if (json.contains("latent_width")) spec.latent_width = json["latent_width"].get<int64_t>();
  spec.position_buckets = json["position_buckets"].get<int64_t>();
  spec.time_buckets = json["time_buckets"].get<int64_t>();
  spec.time_max_s = json["time_max_s"].get<double>();
  spec.action_bias = json["action_bias"].get<bool>();
  spec.pre_norm = json["pre_norm"].get<bool>();
  spec.target_mix = json["target_mix"].get<bool>();
  if (AttendsToChosen(spec.kind)) {
    const nlohmann::json search = json.value("search", nlohmann::json());
    for (const char* key : {"recent", "found", "slot", "hash_bits"}) {
      if (!search.is_object() || !search.contains(key) || !search[key].is_number_integer()) {
        return invalid(absl::StrCat("'search.", key, "' must be an integer"));
      }
    }
    spec.search = {search["recent"].get<int64_t>(), search["found"].get<int64_t>(),
                   search["slot"].get<int64_t>(), search["hash_bits"].get<int64_t>()};
  }
  GRAB_RETURN_IF_ERROR(CheckSizes(spec));
  return spec;
}

const char* ModelKindName(ModelKind kind) {
  switch (kind) {
    case ModelKind::kDlrm:
      return "dlrm";
    case ModelKind::kDin:
      return "din";
    case ModelKind::kSim:
      return "sim";
    case ModelKind::kEta:
      return "eta";
    case ModelKind::kTwin:
      return "twin";
    case ModelKind::kHstu:
      return "hstu";
    case ModelKind::kGrab:
      return "grab";
  }
  return "";
}

StatusOr<ModelKind> ParseModelKind(const std::string& name) {
  std::vector<std::string> known;
  for (const ModelKind kind : kModelKinds) {
    if (name == ModelKindName(kind)) return kind;
    known.emplace_back(ModelKindName(kind));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown model '", name, "', expected one of ", absl::StrJoin(known, ", ")));
}

const ModelRunConfig& RunConfigOf(const Config& config, ModelKind kind) {
  switch (kind) {
    case ModelKind::kDlrm:
      return config.dlrm;
    case ModelKind::kDin:
      return config.din;
    case ModelKind::kSim:
      return config.sim;
    case ModelKind::kEta:
      return config.eta;
    case ModelKind::kTwin:
      return config.twin;
    case ModelKind::kHstu:
      return config.hstu;
    case ModelKind::kGrab:
      return config.grab;
  }
  return config.grab;
}

ModelRunConfig& RunConfigOf(Config& config, ModelKind kind) {
  return const_cast<ModelRunConfig&>(RunConfigOf(std::as_const(config), kind));
}

std::string LayerPrefix(size_t channel, int64_t layer) {
  return absl::StrCat("channel.", channel, ".layer.", layer, ".");
}

}  // namespace grab
