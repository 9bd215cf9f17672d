// Safetensors files: round trips of every dtype and odd shapes are exact, the bytes are those of
// the format, and what does not match is an error that says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/rng.h"
#include "checkpoint/safetensors.h"
#include "support/checkpoint_files.h"

namespace grab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
std::vector<T> Random(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(rng.Next() >> 3);
  return values;
}

template <class T>
void RoundTrip(Dtype dtype) {
  const std::string path = TestPath("round_trip.safetensors");
  // A scalar, nothing, one element, odd sizes, the largest rank.
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {0}, {3, 0, 5}, {1}, {7}, {3, 5}, {2, 1, 2, 1, 2, 1, 2, 1}, {129, 65}};
  std::vector<std::vector<T>> values;
  SafetensorsWriter writer;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const size_t n =
        std::accumulate(shapes[i].begin(), shapes[i].end(), int64_t{1}, std::multiplies<int64_t>());
    values.push_back(Random<T>(n, i));
    ASSERT_TRUE(writer.Add(absl::StrCat("t", i), dtype, shapes[i], values[i].data()).ok());
  }
  ASSERT_TRUE(writer.Write(path).ok());
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ((*reader)->tensors().size(), shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    SCOPED_TRACE(i);
    std::vector<T> read(values[i].size());
    const Status status =
        (*reader)->Read(absl::StrCat("t", i), dtype, shapes[i], absl::MakeSpan(read));
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(read, values[i]);
  }
}

TEST(Safetensors, EveryDtypeRoundTrips) {
  RoundTrip<double>(Dtype::kF64);
  RoundTrip<float>(Dtype::kF32);
  RoundTrip<int64_t>(Dtype::kI64);
  RoundTrip<uint64_t>(Dtype::kU64);
  RoundTrip<int32_t>(Dtype::kI32);
  RoundTrip<uint32_t>(Dtype::kU32);
  RoundTrip<uint8_t>(Dtype::kU8);
  RoundTrip<uint16_t>(Dtype::kBF16);
  RoundTrip<uint16_t>(Dtype::kF16);
}

TEST(Safetensors, BytesAreThoseOfTheFormat) {
  const std::string path = TestPath("bytes.safetensors");
  const uint8_t bytes[] = {7, 8, 9};
  const int32_t numbers[] = {1, -1};
  SafetensorsWriter writer;
  ASSERT_TRUE(writer.Add("small", Dtype::kU8, {3}, bytes).ok());
  ASSERT_TRUE(writer.Add("wide", Dtype::kI32, {2, 1}, numbers).ok());
  ASSERT_TRUE(writer.AddMetadata("a\"b", "\xc3\xa9\n").ok());
  ASSERT_TRUE(writer.Write(path).ok());
  // The wider element comes first; the header ends on a multiple of 64.
  std::string header =
      "{\"__metadata__\":{\"a\\\"b\":\"\xc3\xa9\\n\"},"
      "\"wide\":{\"dtype\":\"I32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
      "\"small\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
  header.resize(192 - 8, ' ');
  const std::string data("\x01\0\0\0\xff\xff\xff\xff\x07\x08\x09", 11);
  EXPECT_EQ(ReadFile(path, 4096).value(), SafetensorsBytes(header, data));
}

TEST(Safetensors, ReadsWhatOtherWritersMake) {
  // No padding, tensors in another order than their data, an empty tensor, no metadata.
  const std::string header =
      "{ \"b\": {\"shape\": [1], \"data_offsets\": [2, 4], \"dtype\": \"F16\"},\n"
      "\"none\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[2,2]},"
      "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]}}";
  const std::string path = TestPath("other.safetensors");
  WritePlainFile(path, SafetensorsBytes(header, "ABCD"));
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  uint16_t a = 0, b = 0;
  EXPECT_TRUE((*reader)->Read("a", Dtype::kBF16, {}, absl::MakeSpan(&a, 1)).ok());
  EXPECT_TRUE((*reader)->Read("b", Dtype::kF16, {1}, absl::MakeSpan(&b, 1)).ok());
  EXPECT_EQ(a, 'A' | 'B' << 8);
  EXPECT_EQ(b, 'C' | 'D' << 8);
  EXPECT_TRUE((*reader)->metadata().empty());

  WritePlainFile(path, SafetensorsBytes("{}", ""));
  EXPECT_TRUE(SafetensorsReader::Open(path).ok());
}

TEST(Safetensors, StreamedTensorsAndParts) {
  const std::string path = TestPath("streamed.safetensors");
  const std::vector<float> values = Random<float>(1000, 3);
  SafetensorsWriter writer;
  ASSERT_TRUE(writer
                  .AddStreamed("rows", Dtype::kF32, {100, 10},
                               [&values](const SafetensorsWriter::Sink& sink) -> Status {
                                 for (size_t row = 0; row < 100; ++row) {
                                   GRAB_RETURN_IF_ERROR(sink(&values[row * 10], 40));
                                 }
                                 return absl::OkStatus();
                               })
                  .ok());
  ASSERT_TRUE(writer.Write(path).ok());
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok());
  const TensorInfo* rows = (*reader)->Find("rows");
  ASSERT_NE(rows, nullptr);
  for (const auto& [first, count] :
       {std::pair<size_t, size_t>{0, 1000}, {0, 0}, {1000, 0}, {999, 1}, {333, 77}}) {
    std::vector<float> part(count);
    ASSERT_TRUE((*reader)->ReadPart(*rows, first, absl::MakeSpan(part)).ok());
    EXPECT_EQ(part, std::vector<float>(values.begin() + first, values.begin() + first + count));
  }
}

TEST(Safetensors, AFailedSourceFailsTheWrite) {
  SafetensorsWriter writer;
  ASSERT_TRUE(writer
                  .AddStreamed(
                      "x", Dtype::kF32, {1},
                      [](const SafetensorsWriter::Sink&) { return absl::UnavailableError("gone"); })
                  .ok());
  EXPECT_EQ(writer.Write(TestPath("failed.safetensors")).code(), absl::StatusCode::kUnavailable);
}

TEST(Safetensors, MismatchesNameFileTensorExpectedAndGot) {
  const std::string path = TestPath("mismatch.safetensors");
  const float values[6] = {};
  SafetensorsWriter writer;
  ASSERT_TRUE(writer.Add("w", Dtype::kF32, {2, 3}, values).ok());
  ASSERT_TRUE(writer.Write(path).ok());
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok());
  std::vector<float> out(6);
  const Status shape = (*reader)->Read("w", Dtype::kF32, {3, 2}, absl::MakeSpan(out));
  EXPECT_EQ(shape.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {path.c_str(), "'w'", "expected F32 [3, 2]", "got F32 [2, 3]"}) {
    EXPECT_THAT(std::string(shape.message()), HasSubstr(part));
  }
  std::vector<int32_t> integers(6);
  EXPECT_EQ((*reader)->Read("w", Dtype::kI32, {2, 3}, absl::MakeSpan(integers)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*reader)->Read("v", Dtype::kF32, {2, 3}, absl::MakeSpan(out)).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ((*reader)->Find("v"), nullptr);
}

TEST(Safetensors, WriterRefusesWhatReadersWould) {
  const float value = 0;
  SafetensorsWriter writer;
  ASSERT_TRUE(writer.Add("w", Dtype::kF32, {1}, &value).ok());
  ASSERT_TRUE(writer.AddMetadata("k", "v").ok());
  const int64_t big = int64_t{1} << 62;
  for (const Status& status :
       {writer.Add("w", Dtype::kF32, {1}, &value), writer.Add("", Dtype::kF32, {1}, &value),
        writer.Add("__metadata__", Dtype::kF32, {1}, &value),
        writer.Add("\xff", Dtype::kF32, {1}, &value), writer.Add("n", Dtype::kF32, {-1}, &value),
        writer.Add("o", Dtype::kF32, {big, 2}, &value),
        writer.Add("r", Dtype::kF32, std::vector<int64_t>(9, 1), &value),
        writer.AddMetadata("k", "w"), writer.AddMetadata("l", "\xff")}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
  ASSERT_TRUE(writer.Write(TestPath("refused.safetensors")).ok());
  const auto reader = SafetensorsReader::Open(TestPath("refused.safetensors"));
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->tensors().size(), 1u);  // nothing of the refused entered
}

}  // namespace
}  // namespace grab
