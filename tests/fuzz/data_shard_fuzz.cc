// libFuzzer entry (-DGRAB_FUZZ=ON, Clang): the decoder of shard blocks on arbitrary bytes, without
// the checksums that keep such bytes away from it in files. What it accepts must be valid and
// survive another round.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "data/block_codec.h"
#include "support/data_blocks.h"

// The first two bytes are the numbers of users and events, the rest the block: small numbers, so
// that time goes into decoding and not into filling memory.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const grab::Schema* const schema = new grab::Schema(grab::AllKindsSchema());
  uint64_t error_offset = 0;
  const auto block =
      grab::DecodeBlock(*schema, data[0], data[1], {data + 2, size - 2}, &error_offset);
  GRAB_CHECK(error_offset <= size - 2);
  const auto targets = grab::DecodeBlock(*schema, data[0], data[1], {data + 2, size - 2},
                                         &error_offset, grab::Split::kTrain);
  GRAB_CHECK(error_offset <= size - 2);
  GRAB_CHECK(!targets.ok() || grab::Validate(*schema, *targets).ok());
  if (!block.ok()) return 0;
  GRAB_CHECK(targets.ok() &&
             grab::SameBlocks(*targets, grab::OnlySplit(*schema, *block, grab::Split::kTrain)));
  GRAB_CHECK(grab::Validate(*schema, *block).ok());
  const std::string bytes = grab::EncodeBlock(*schema, *block, 1);
  const auto again = grab::DecodeBlock(
      *schema, data[0], data[1], {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
      &error_offset);
  GRAB_CHECK(again.ok() && grab::SameBlocks(*block, *again));
  return 0;
}
