// Settings of an architecture (config/settings.h says how).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/setting.h"

namespace grab {

// A channel of CamA (DESIGN 3.4): which history it holds and how far it sees.
struct ChannelConfig {
  std::string name;
  std::vector<std::string> actions;
  int64_t window_len = 50;
  double window_time_s = 0.0;

  template <class V>
  void Visit(V& v) {
    v.Setting("name", name, "Name of the channel.", Anything());
    v.Setting("actions", actions,
              "Events with any of these actions are in the channel; empty: all events.",
              Anything());
    v.Setting(
        "window_len", window_len,
        "A query sees at most this many latest partial tokens; 0: a candidate sees itself only.",
        Between(0, 1 << 20));
    v.Setting("window_time_s", window_time_s,
              "A query sees partial tokens known at most this long ago; 0: no limit.", AtLeast(0));
  }
};

// How DIN, SIM, ETA and TWIN choose what a candidate attends to.
struct SearchConfig {
  int64_t recent = 50;
  int64_t found = 50;
  std::string field;
  int64_t hash_bits = 64;

  template <class V>
  void Visit(V& v) {
    v.Setting("recent", recent, "Newest events of the window that a candidate attends to.",
              Between(1, 1 << 20));
    v.Setting("found", found,
              "SIM, ETA, TWIN: events found in the whole window that it attends to as well.",
              Between(1, 1 << 20));
    v.Setting("field", field,
              "SIM: an id field; events that share its value with the candidate are found (hard "
              "search). Empty: those whose embedding has the largest product with the candidate's "
              "(soft search).",
              Anything());
    v.Setting("hash_bits", hash_bits, "ETA: bits of the hash that events are compared by.",
              Between(1, 64));
  }
};

struct ModelConfig {
  int64_t embedding_dim = 16;
  int64_t tokenizer_hidden = 128;
  int64_t d_model = 64;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t ffn_hidden = 128;
  int64_t latent_width = 0;
  std::string norm = "pre";
  bool target_mix = true;
  int64_t position_buckets = 32;
  int64_t time_buckets = 32;
  double time_max_s = 2592000.0;
  bool action_bias = true;
  std::vector<int64_t> head_hidden = {64};
  std::vector<ChannelConfig> channels;
  SearchConfig search;

  template <class V>
  void Visit(V& v) {
    v.Setting("embedding_dim", embedding_dim, "Width of an embedding row.", Between(1, 4096));
    v.Setting("tokenizer_hidden", tokenizer_hidden, "Hidden width of the GateMLP.",
              Between(1, 65536));
    v.Setting("d_model", d_model, "Width of a token.", Between(1, 65536));
    v.Setting("layers", layers, "Transformer layers per channel.", Between(1, 256));
    v.Setting("heads", heads, "Attention heads; must divide d_model.", Between(1, 256));
    v.Setting("ffn_hidden", ffn_hidden, "Hidden width of the feed-forward part.",
              Between(1, 1 << 20));
    v.Setting("latent_width", latent_width,
              "Width of a shared latent that queries, keys and values are made from, so that a "
              "cache holds only it; 0: none, they are made from the token.",
              Between(0, 65536));
    v.Setting("norm", norm, "Where LayerNorm stands: before (pre) or after (post) a sublayer.",
              OneOf({"pre", "post"}));
    v.Setting("target_mix", target_mix, "Mix the channels at full tokens before each layer.",
              Anything());
    v.Setting("position_buckets", position_buckets,
              "Relative position buckets, the self bucket included.", Between(2, 4096));
    v.Setting("time_buckets", time_buckets, "Relative time buckets, the self bucket included.",
              Between(2, 4096));
    v.Setting("time_max_s", time_max_s, "Age from which all history is in the last time bucket.",
              Between(2, 1e12));
    v.Setting("action_bias", action_bias,
              "Bias attention by the actions of the event attended to; else all history is alike.",
              Anything());
    v.Setting("head_hidden", head_hidden, "Hidden widths of the head's MLP.", Between(1, 65536));
    v.List("channel", channels,
           "Channels of history; none: one channel of all events. Models but GRAB have one.");
    v.Section("search", search, "What DIN, SIM, ETA and TWIN attend to.");
  }
};

}  // namespace grab
