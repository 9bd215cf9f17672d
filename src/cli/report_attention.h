// What `grab attention` found, reduced to what `grab report` draws.
#pragma once

#include <string>

#include "base/status.h"
#include "eval/attention_mass.h"

namespace grab {

// In the folder of a comparison: of the first run of its first GRAB.
inline constexpr char kAttentionFile[] = "attention.json";

inline constexpr size_t kAttentionChannelsShownMax = 4;
inline constexpr size_t kAttentionLayersShownMax = 6;
inline constexpr size_t kAttentionBucketsShownMax = 32;  // of distances and of ages

// From the file that `grab attention` wrote. What is not as it writes it is a DataLoss that names
// the file and the member.
StatusOr<AttentionMass> ReadAttention(const std::string& path);

// The first channels and layers; buckets in which keys were seen, neighbours added up
// (MergeBuckets).
AttentionMass ShownAttention(AttentionMass mass);

}  // namespace grab
