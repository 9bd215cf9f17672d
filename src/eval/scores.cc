#include "eval/scores.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"

namespace grab {
namespace {

constexpr const char* kFixedColumns[] = {"event_id",        "user_key",    "page_id",
                                         "request_time_ms", "history_len", "split"};
constexpr size_t kFixed = std::size(kFixedColumns);
constexpr absl::string_view kLabelPrefix = "label:";
constexpr absl::string_view kProbabilityPrefix = "p:";
constexpr absl::string_view kSlicePrefix = "slice:";

// Reports carry the names as JSON, which must be UTF-8.
bool IsUtf8(const std::string& text) {
  using Handler = nlohmann::json::error_handler_t;
  const nlohmann::json json(text);
  return json.dump(-1, ' ', false, Handler::ignore) == json.dump(-1, ' ', false, Handler::replace);
}

Status CheckNames(const std::vector<std::string>& names, const char* what, size_t count_max) {
  if (names.size() > count_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", count_max, " ", what, "s, got ", names.size()));
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      return static_cast<unsigned char>(c) >= 0x20 && c != ',' && c != '"' && c != 0x7f;
    });
    if (name.empty() || !plain || !IsUtf8(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a ", what,
                       " name must be UTF-8, non-empty and without commas, quotes "
                       "and control characters, got '",
                       absl::CHexEscape(name), "'"));
    }
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two ", what, "s are named '", name, "'"));
    }
  }
  return absl::OkStatus();
}

Status CheckColumns(const std::vector<std::string>& tasks, const std::vector<std::string>& slices) {
  if (tasks.empty()) return absl::InvalidArgumentError("expected at least one task, got none");
  GRAB_RETURN_IF_ERROR(CheckNames(tasks, "task", kTasksMax));
  return CheckNames(slices, "slice", kScoreSlicesMax);
}

std::string HeaderLine(const std::vector<std::string>& tasks,
                       const std::vector<std::string>& slices) {
  std::string line = absl::StrJoin(kFixedColumns, ",");
  for (const std::string& task : tasks) {
    absl::StrAppend(&line, ",", kLabelPrefix, task, ",", kProbabilityPrefix, task);
  }
  for (const std::string& slice : slices) absl::StrAppend(&line, ",", kSlicePrefix, slice);
  return line + "\n";
}

// Exactly printf's %.9g, which every float survives, without its locale.
void AppendFloat(float value, std::string& out) {
  char text[32];
  const auto end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::general, 9).ptr;
  out.append(text, end);
}

// Lines of a file, each bounded; the last must end in a newline too, or the file was cut.
class LineReader {
 public:
  static StatusOr<LineReader> Open(const std::string& path) {
    GRAB_ASSIGN_OR_RETURN(auto file, RandomAccessFile::Open(path));
    return LineReader(std::move(file));
  }

  // False at the end of the file. The view lasts until the next call.
  StatusOr<bool> Next(absl::string_view& line) {
    while (true) {
      const size_t newline = buffer_.find('\n', begin_);
      if (newline != std::string::npos && newline - begin_ <= kScoreLineBytesMax) {
        line = absl::string_view(buffer_).substr(begin_, newline - begin_);
        begin_ = newline + 1;
        ++line_number_;
        return true;
      }
      const uint64_t left = file_->size_bytes() - offset_;
      if (newline != std::string::npos || buffer_.size() - begin_ > kScoreLineBytesMax) {
        ++line_number_;
        return Error(absl::StrCat("is longer than ", kScoreLineBytesMax, " bytes"));
      }
      if (left == 0 && begin_ == buffer_.size()) return false;
      if (left == 0) {
        ++line_number_;
        return Error("expected a newline at the end, the file was cut");
      }
      buffer_.erase(0, begin_);
      begin_ = 0;
      const size_t kept = buffer_.size();
      buffer_.resize(kept + std::min<uint64_t>(left, kChunkBytes));
      GRAB_RETURN_IF_ERROR(file_->Read(offset_, buffer_.size() - kept, buffer_.data() + kept));
      offset_ += buffer_.size() - kept;
    }
  }

  Status Error(absl::string_view detail) const {
    return absl::DataLossError(absl::StrCat(file_->path(), ":", line_number_, ": ", detail));
  }

 private:
  static constexpr uint64_t kChunkBytes = 1 << 20;
  explicit LineReader(std::unique_ptr<RandomAccessFile> file) : file_(std::move(file)) {}

  std::unique_ptr<RandomAccessFile> file_;
  uint64_t offset_ = 0;
  std::string buffer_;
  size_t begin_ = 0;
  uint64_t line_number_ = 0;
};

// "COLUMN: expected WHAT, got 'TEXT'", the text cut to a readable length.
std::string Unexpected(absl::string_view column, absl::string_view what, absl::string_view text) {
  return absl::StrCat(column, ": expected ", what, ", got '", text.substr(0, 40), "'");
}

template <class Number>
bool ParseNumber(absl::string_view text, Number& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

Status ParseHeader(LineReader& lines, ScoreTable& table) {
  absl::string_view line;
  GRAB_ASSIGN_OR_RETURN(const bool found, lines.Next(line));
  if (!found) return lines.Error("expected a header line, the file is empty");
  for (absl::string_view column : absl::StrSplit(line, ',')) {
    if (absl::StartsWith(column, kProbabilityPrefix)) {
      table.tasks.emplace_back(column.substr(kProbabilityPrefix.size()));
    } else if (absl::StartsWith(column, kSlicePrefix)) {
      table.slices.emplace_back(column.substr(kSlicePrefix.size()));
    }
  }
  const Status names = CheckColumns(table.tasks, table.slices);
  if (!names.ok()) return lines.Error(names.message());
  const std::string expected = HeaderLine(table.tasks, table.slices);
  if (absl::StrCat(line, "\n") != expected) {
    return lines.Error(Unexpected("header", expected.substr(0, expected.size() - 1), line));
  }
  return absl::OkStatus();
}

// Parses one line after the header; an error text, empty when all is well.
class RowParser {
 public:
  explicit RowParser(ScoreTable& table) : table_(table) {}

  std::string Parse(absl::string_view line) {
    cells_ = absl::StrSplit(line, ',');
    const size_t tasks = table_.tasks.size();
    const size_t expected = kFixed + 2 * tasks + table_.slices.size();
    if (cells_.size() != expected) {
      return absl::StrCat("expected ", expected, " values, got ", cells_.size());
    }
    if (std::string error = ParseFixed(); !error.empty()) return error;
    uint32_t labels = 0;
    uint32_t known = 0;
    for (size_t t = 0; t < tasks; ++t) {
      const absl::string_view label = cells_[kFixed + 2 * t];
      const absl::string_view text = cells_[kFixed + 2 * t + 1];
      if (label != "0" && label != "1" && !label.empty()) {
        return Unexpected(absl::StrCat(kLabelPrefix, table_.tasks[t]), "0, 1 or nothing", label);
      }
      known |= static_cast<uint32_t>(!label.empty()) << t;
      labels |= static_cast<uint32_t>(label == "1") << t;
      float p = 0.0f;
      if (!ParseNumber(text, p) || !(p >= 0.0f && p <= 1.0f)) {
        return Unexpected(absl::StrCat(kProbabilityPrefix, table_.tasks[t]), "a number in [0, 1]",
                          text);
      }
      table_.p.push_back(p);
    }
    table_.labels.push_back(labels);
    table_.labels_known.push_back(known);
    for (size_t s = 0; s < table_.slices.size(); ++s) {
      const absl::string_view text = cells_[kFixed + 2 * tasks + s];
      uint64_t value = 0;
      if (!ParseNumber(text, value)) {
        return Unexpected(absl::StrCat(kSlicePrefix, table_.slices[s]), "an unsigned integer",
                          text);
      }
      table_.slice_values.push_back(value);
    }
    return "";
  }

 private:
  template <class Number>
  bool Push(size_t column, std::vector<Number>& values) {
    Number value = 0;
    if (!ParseNumber(cells_[column], value)) return false;
    values.push_back(value);
    return true;
  }

  std::string ParseFixed() {
    const bool parsed[] = {Push(0, table_.event_id), Push(1, table_.user_key),
                           Push(2, table_.page_id), Push(3, table_.request_time_ms),
                           Push(4, table_.history_len)};
    for (size_t i = 0; i < std::size(parsed); ++i) {
      if (!parsed[i]) return Unexpected(kFixedColumns[i], "an integer in range", cells_[i]);
    }
    const auto split = std::find(std::begin(kSplitNames), std::end(kSplitNames), cells_[5]);
    if (split == std::end(kSplitNames)) {
      return Unexpected("split", absl::StrJoin(kSplitNames, ", "), cells_[5]);
    }
    table_.split.push_back(static_cast<Split>(split - std::begin(kSplitNames)));
    return "";
  }

  ScoreTable& table_;
  std::vector<absl::string_view> cells_;
};

}  // namespace

int ScoreTable::TaskIndex(const std::string& name) const {
  const auto found = std::find(tasks.begin(), tasks.end(), name);
  return found == tasks.end() ? -1 : static_cast<int>(found - tasks.begin());
}

TaskScores ScoresOf(const ScoreTable& table, size_t task) {
  GRAB_CHECK(task < table.tasks.size());
  TaskScores scores;
  for (size_t i = 0; i < table.rows(); ++i) {
    if ((table.labels_known[i] >> task & 1) == 0) continue;
    scores.row.push_back(i);
    scores.p.push_back(table.p[i * table.tasks.size() + task]);
    scores.label.push_back(static_cast<uint8_t>(table.labels[i] >> task & 1));
  }
  return scores;
}

StatusOr<std::unique_ptr<ScoreWriter>> ScoreWriter::Create(const std::string& path,
                                                           const std::vector<std::string>& tasks,
                                                           const std::vector<std::string>& slices) {
  GRAB_RETURN_IF_ERROR(Annotate(CheckColumns(tasks, slices), path));
  const std::string header = HeaderLine(tasks, slices);
  if (header.size() > kScoreLineBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a header of at most ",
                                                   kScoreLineBytesMax, " bytes, got ",
                                                   header.size()));
  }
  GRAB_ASSIGN_OR_RETURN(auto file, SequentialFile::Create(path + ".tmp"));
  std::unique_ptr<ScoreWriter> writer(
      new ScoreWriter(path, tasks.size(), slices.size(), std::move(file)));
  GRAB_RETURN_IF_ERROR(writer->file_->Append(header));
  return writer;
}

ScoreWriter::~ScoreWriter() {
  if (file_ == nullptr) return;
  file_.reset();
  std::remove((path_ + ".tmp").c_str());
}

Status ScoreWriter::Append(const ScoreRow& row) {
  GRAB_CHECK(file_ != nullptr);
  GRAB_CHECK(row.p.size() == tasks_ && row.slice_values.size() == slices_);
  GRAB_CHECK((row.labels & ~row.labels_known) == 0);
  if (rows_ == kScoreRowsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path_, ": a score file holds at most ", kScoreRowsMax, " rows"));
  }
  line_.clear();
  absl::StrAppend(&line_, row.event_id, ",", row.user_key, ",", row.page_id, ",",
                  row.request_time_ms, ",", row.history_len, ",");
  line_ += SplitName(row.split);
  for (size_t t = 0; t < tasks_; ++t) {
    if (!(row.p[t] >= 0.0f && row.p[t] <= 1.0f)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path_, ": event ", row.event_id, ": expected a probability in [0, 1], got ", row.p[t]));
    }
    const bool known = (row.labels_known >> t & 1) != 0;
    absl::StrAppend(&line_, ",", known ? absl::StrCat(row.labels >> t & 1) : "", ",");
    AppendFloat(row.p[t], line_);
  }
  for (const uint64_t value : row.slice_values) absl::StrAppend(&line_, ",", value);
  line_ += '\n';
  GRAB_RETURN_IF_ERROR(file_->Append(line_));
  ++rows_;
  return absl::OkStatus();
}

Status ScoreWriter::Close() {
  GRAB_CHECK(file_ != nullptr);
  const Status closed = file_->Close();
  file_.reset();
  const std::string tmp = path_ + ".tmp";
  const Status renamed = closed.ok() ? RenameDurably(tmp, path_) : closed;
  if (!renamed.ok()) std::remove(tmp.c_str());
  return renamed;
}

Status WriteScores(const std::string& path, const ScoreTable& table) {
  GRAB_ASSIGN_OR_RETURN(auto writer, ScoreWriter::Create(path, table.tasks, table.slices));
  const size_t tasks = table.tasks.size();
  const size_t slices = table.slices.size();
  for (size_t i = 0; i < table.rows(); ++i) {
    GRAB_RETURN_IF_ERROR(writer->Append(
        {table.event_id[i], table.user_key[i], table.page_id[i], table.request_time_ms[i],
         table.history_len[i], table.split[i], table.labels[i], table.labels_known[i],
         absl::MakeConstSpan(table.p).subspan(i * tasks, tasks),
         absl::MakeConstSpan(table.slice_values).subspan(i * slices, slices)}));
  }
  return writer->Close();
}

StatusOr<ScoreTable> ReadScores(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(path));
  ScoreTable table;
  GRAB_RETURN_IF_ERROR(ParseHeader(lines, table));
  RowParser parser(table);
  while (true) {
    absl::string_view line;
    GRAB_ASSIGN_OR_RETURN(const bool found, lines.Next(line));
    if (!found) return table;
    if (table.rows() == kScoreRowsMax) {
      return lines.Error(absl::StrCat("expected at most ", kScoreRowsMax, " rows"));
    }
    const std::string error = parser.Parse(line);
    if (!error.empty()) return lines.Error(error);
  }
}

}  // namespace grab
