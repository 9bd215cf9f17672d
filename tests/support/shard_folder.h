// Blocks as a prepared data set.
#pragma once

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "data/shard.h"

namespace grab::testing {

// Writes one shard and its manifest into `dir`, and opens them.
inline std::unique_ptr<ShardSet> WriteShards(const Schema& schema,
                                             const std::vector<UserBlock>& blocks,
                                             const std::string& dir) {
  const std::unique_ptr<ShardWriter> writer =
      *ShardWriter::Create(JoinPath(dir, "shard-0000.grab"), schema, 1);
  for (const UserBlock& block : blocks) GRAB_CHECK(writer->Append(block).ok());
  GRAB_CHECK(writer->Finish().ok());
  std::ofstream(JoinPath(dir, kManifestName)) << absl::StrFormat(
      R"({"rows_hash":"0","shards":[{"file":"shard-0000.grab","checksum":"%016x"}]})",
      writer->checksum());
  return *ShardSet::Open(dir);
}

}  // namespace grab::testing
