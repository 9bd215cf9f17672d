// A safetensors file is untrusted bytes: every truncation and extension is refused, no single wrong
// byte crashes the reader or yields other numbers for the tensors asked for, and random damage to
// the header never crashes it.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/rng.h"
#include "checkpoint/safetensors.h"
#include "support/checkpoint_files.h"

namespace grab {
namespace {

const std::vector<double> kWide = {1.5, -2.5};
const std::vector<float> kMatrix = {1, 2, 3, 4, 5, 6};
const std::vector<uint8_t> kBytes = {7, 8, 9};

MemoryFile& File() {
  static MemoryFile file;
  return file;
}

std::string SmallFile() {
  SafetensorsWriter writer;
  EXPECT_TRUE(writer.Add("wide", Dtype::kF64, {2}, kWide.data()).ok());
  EXPECT_TRUE(writer.Add("matrix", Dtype::kF32, {2, 3}, kMatrix.data()).ok());
  EXPECT_TRUE(writer.Add("bytes", Dtype::kU8, {3, 1}, kBytes.data()).ok());
  EXPECT_TRUE(writer.AddMetadata("note", "small").ok());
  EXPECT_TRUE(writer.Write(File().path()).ok());
  return ReadFile(File().path(), 1 << 20).value();
}

// Bytes of data, known from the tensors above and not from the file.
constexpr size_t kDataBytes = 16 + 24 + 3;

StatusOr<std::unique_ptr<SafetensorsReader>> Open(const std::string& bytes) {
  File().Set(bytes);
  return SafetensorsReader::Open(File().path());
}

// Reads every tensor through its own claims: must stay inside the file whatever they are.
void ReadAll(const SafetensorsReader& reader) {
  for (const TensorInfo& tensor : reader.tensors()) {
    std::vector<uint8_t> out;
    ASSERT_LE(tensor.end - tensor.begin, uint64_t{1} << 20);
    if (DtypeBytes(tensor.dtype) != 1) continue;
    out.resize(tensor.end - tensor.begin);
    EXPECT_TRUE(reader.Read(tensor.name, tensor.dtype, tensor.shape, absl::MakeSpan(out)).ok());
  }
}

// Whether all three tensors can be read with their dtype and shape; then their values must be
// right.
bool ReadsAsBefore(const SafetensorsReader& reader) {
  std::vector<double> wide(2);
  std::vector<float> matrix(6);
  std::vector<uint8_t> bytes(3);
  if (!reader.Read("wide", Dtype::kF64, {2}, absl::MakeSpan(wide)).ok()) return false;
  if (!reader.Read("matrix", Dtype::kF32, {2, 3}, absl::MakeSpan(matrix)).ok()) return false;
  if (!reader.Read("bytes", Dtype::kU8, {3, 1}, absl::MakeSpan(bytes)).ok()) return false;
  EXPECT_EQ(wide, kWide);
  EXPECT_EQ(matrix, kMatrix);
  EXPECT_EQ(bytes, kBytes);
  return true;
}

TEST(SafetensorsFault, EveryTruncationAndExtensionIsRefused) {
  const std::string bytes = SmallFile();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const Status status = Open(bytes.substr(0, length)).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << length;
    ASSERT_NE(status.ToString().find(File().path()), std::string::npos) << status;
  }
  EXPECT_EQ(Open(bytes + '\0').status().code(), absl::StatusCode::kDataLoss);
}

TEST(SafetensorsFault, NoWrongByteGivesWrongNumbers) {
  const std::string bytes = SmallFile();
  const size_t header_end = bytes.size() - kDataBytes;
  int refused = 0;
  for (size_t at = 0; at < header_end; ++at) {
    for (int value = 0; value < 256; value += at < 8 ? 1 : 3) {
      if (static_cast<char>(value) == bytes[at]) continue;
      SCOPED_TRACE(::testing::Message() << "byte " << at << " = " << value);
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(value);
      const auto reader = Open(damaged);
      if (!reader.ok()) {
        ++refused;
        continue;
      }
      EXPECT_GE(at, 8u) << "no other header length can be right";
      ReadAll(**reader);
      ReadsAsBefore(**reader);
    }
  }
  EXPECT_GT(refused, 2000);
}

// What is wrong, by a part of the message that must say so.
TEST(SafetensorsFault, WrongHeadersSayWhatIsWrong) {
  const std::string a = "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";
  const auto with = [](const std::string& fields) {
    return absl::StrCat("{\"a\":{", fields, "}}");
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no well-formed JSON"},
      {"{", "no well-formed JSON"},
      {absl::StrCat("{", a, "}x"), "no well-formed JSON"},
      {"{\"\xff\":1}", "no well-formed JSON"},
      {"[]", "got an array"},
      {"null", "got null"},
      {"7", "got a number"},
      {"{\"a\":7}", "got a number after 'a'"},
      {"{\"a\":[]}", "got an array after 'a'"},
      {absl::StrCat("{", a, ",", a, "}"), "'a' occurs twice"},
      {absl::StrCat("{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"},", a, "}"),
       "metadata 'k' occurs twice"},
      {absl::StrCat("{\"__metadata__\":{\"k\":7},", a, "}"), "got a number after 'k'"},
      {absl::StrCat("{\"__metadata__\":{\"k\":{}},", a, "}"), "got an object after 'k'"},
      {absl::StrCat("{\"__metadata__\":{},\"__metadata__\":{},", a, "}"), "occurs twice"},
      {"{}", "end at data byte 0, the file has 4"},
      {with(""), "expected dtype, shape and data_offsets"},
      {with("\"dtype\":\"U8\",\"shape\":[4]"), "expected dtype, shape and data_offsets"},
      {with("\"dtype\":\"U8\",\"dtype\":\"U8\""), "'dtype' occurs twice"},
      {with("\"extra\":1"), "got 'extra'"},
      {with("\"dtype\":\"Q4\""), "unknown dtype 'Q4'"},
      {with("\"dtype\":7"), "got a number"},
      {with("\"shape\":[-1]"), "got a negative number"},
      {with("\"shape\":[1.5]"), "got a fraction"},
      {with("\"shape\":[1e3]"), "got a fraction"},
      {with("\"shape\":[[1]]"), "got an array"},
      {with("\"shape\":[true]"), "got a boolean"},
      {with("\"shape\":[\"1\"]"), "got a string"},
      {with("\"shape\":[18446744073709551615]"), "too large"},
      {with("\"shape\":[18446744073709551616]"), "got a fraction"},
      {with("\"shape\":[1,1,1,1,1,1,1,1,1]"), "at most 8 dimensions"},
      {with("\"data_offsets\":[0]"), "expected two data_offsets, got 1"},
      {with("\"data_offsets\":[0,4,4]"), "expected two data_offsets, got more"},
      {with("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,4]"), "expected 3 bytes"},
      {with("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,4]"), "expected 16 bytes"},
      {with("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]"), "expected to begin at"},
      {with("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]"), "expected to begin at"},
      {with("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]"), "end at data byte 3"},
      {with("\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]"), "ends at data byte 5"},
      {with("\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"),
       "too many elements"},
      {with("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"),
       "too many elements"},
      {absl::StrCat("{", a, ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]}}"),
       "'b': expected to begin at data byte 4"},
      {absl::StrCat("{", a, ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"),
       "'b': expected to begin at data byte 4"},
  };
  ASSERT_TRUE(Open(SafetensorsBytes(absl::StrCat("{", a, "}"), "data")).ok());
  for (const auto& [header, text] : cases) {
    SCOPED_TRACE(header);
    const Status status = Open(SafetensorsBytes(header, "data")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(status.ToString().find(text), std::string::npos) << status;
    EXPECT_NE(status.ToString().find(File().path()), std::string::npos) << status;
  }
}

TEST(SafetensorsFault, HugeClaimsTakeNoMemory) {
  // Lengths beyond the file and beyond the limit; deep nesting must not recurse.
  for (const uint64_t length : {uint64_t{17}, kSafetensorsHeaderBytesMax + 1, uint64_t{1} << 40,
                                ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::string bytes(24, ' ');
    std::memcpy(bytes.data(), &length, sizeof(length));
    EXPECT_EQ(Open(bytes).status().code(), absl::StatusCode::kDataLoss) << length;
  }
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 200000; ++i) deep += open;
    EXPECT_EQ(Open(SafetensorsBytes(deep, "")).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(SafetensorsFault, RandomDamageNeverCrashes) {
  const std::string bytes = SmallFile();
  const std::string header = bytes.substr(8, bytes.size() - kDataBytes - 8);
  const std::string data = bytes.substr(bytes.size() - kDataBytes);
  const std::vector<std::string> pieces = {
      "{",         "}",      "[",         "]",
      ",",         ":",      "\"",        "0",
      "-1",        "9",      "1e9",       "18446744073709551615",
      "\"dtype\"", "\"U8\"", "\"shape\"", "\"data_offsets\"",
      "null",      "\\u0000"};
  int refused = 0;
  for (uint64_t seed = 1; seed <= 4000; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    std::string damaged = header;
    for (uint64_t edits = 1 + rng.Below(3); edits > 0; --edits) {
      const size_t at = rng.Below(damaged.size());
      const size_t length = std::min<size_t>(1 + rng.Below(12), damaged.size() - at);
      const std::string& piece = pieces[rng.Below(pieces.size())];
      switch (rng.Below(4)) {
        case 0:
          damaged[at] = static_cast<char>(rng.Next());
          break;
        case 1:
          damaged.replace(at, length, piece);
          break;
        case 2:
          damaged.insert(at, piece);
          break;
        default:
          damaged.insert(at, damaged.substr(rng.Below(damaged.size()), length));
      }
    }
    // The length is made right again, so that the damage reaches the parser.
    const auto reader = Open(SafetensorsBytes(damaged, data));
    refused += !reader.ok();
    if (!reader.ok()) continue;
    ReadAll(**reader);
    ReadsAsBefore(**reader);
  }
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace grab
