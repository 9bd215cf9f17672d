#include "train/warm_start.h"

#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "checkpoint/model_files.h"
#include "checkpoint/tables.h"

namespace grab {
namespace {

struct Columns {
  int64_t begin = 0;
  int64_t width = 0;
};

// Where each slot stands in the token vector of a view.
std::map<std::string, Columns> SlotColumns(const TokenSpec& spec, bool partial) {
  std::map<std::string, Columns> columns;
  int64_t begin = 0;
  for (const TokenSlot& slot : spec.slots) {
    if (!(partial ? slot.partial : slot.full)) continue;
    columns[slot.name] = {begin, slot.width};
    begin += slot.width;
  }
  return columns;
}

constexpr absl::string_view kPartialTokenizer = "tokenizer.partial.";
constexpr absl::string_view kFullTokenizer = "tokenizer.full.";
constexpr absl::string_view kBaseHead = "base.";
constexpr absl::string_view kHead = "head.";

bool StartsWith(absl::string_view text, absl::string_view start) {
  return text.substr(0, start.size()) == start;
}

// Of a tokenizer's weights those whose last dimension is the token vector.
bool ReadsTokenVector(absl::string_view name) {
  return StartsWith(name, "tokenizer.") &&
         (name.find(".norm.") != absl::string_view::npos ||
          name.find(".hidden.weight") != absl::string_view::npos ||
          name.find(".gate.weight") != absl::string_view::npos);
}

class Transfer {
 public:
  Transfer(const Model& from, const ModelSpec& to, RunState& state, WarmStartReport& report)
      : from_(from), to_(to), state_(state), report_(report) {}

  void Weights() {
    for (const auto& [name, weight] : state_.net.weights()) Weight(name, weight);
    for (const auto& [name, values] : from_.weights) {
      if (used_.count(name) == 0) report_.unused.push_back(name);
    }
  }

 private:
  // The source's weight for `name`; empty if none may stand for it.
  std::string SourceOf(const std::string& name) const {
    const bool dlrm = from_.spec.kind == ModelKind::kDlrm;
    const bool same_kind = from_.spec.kind == to_.kind;
    if (StartsWith(name, kHead) && !same_kind) return "";
    if (StartsWith(name, kBaseHead) && dlrm) {
      return absl::StrCat(kHead, name.substr(kBaseHead.size()));
    }
    if (from_.weights.count(name) == 0 && StartsWith(name, kPartialTokenizer)) {
      return absl::StrCat(kFullTokenizer, name.substr(kPartialTokenizer.size()));
    }
    return name;
  }

  void Weight(const std::string& name, torch::Tensor to) {
    const std::string source = SourceOf(name);
    const auto found = from_.weights.find(source);
    if (found == from_.weights.end()) {
      report_.missing.push_back(name);
      return;
    }
    const std::string label = source == name ? name : absl::StrCat(name, " (from ", source, ")");
    torch::NoGradGuard no_grad;
    const std::vector<int64_t> shape = ShapeOf(source);
    const torch::Tensor from = torch::tensor(found->second).reshape(shape);
    if (ReadsTokenVector(name)) {
      if (!BySlots(label, source, from, to)) report_.missing.push_back(name);
    } else if (to.sizes().vec() == shape) {
      to.copy_(from);
      report_.loaded.push_back(label);
    } else {
      report_.missing.push_back(name + " (the source's has another shape)");
      return;
    }
    used_.insert(source);
  }

  std::vector<int64_t> ShapeOf(const std::string& source) const {
    for (const WeightSpec& weight : from_.spec.Weights()) {
      if (weight.name == source) return weight.shape;
    }
    GRAB_CHECK_MSG(false, source);
    return {};
  }

  // Copies the columns of the slots that both have; false if there is none, or the other dimension
  // differs.
  bool BySlots(const std::string& label, const std::string& source, const torch::Tensor& from,
               torch::Tensor to) {
    if (from.dim() != to.dim() || (to.dim() == 2 && from.size(0) != to.size(0))) return false;
    const auto theirs = SlotColumns(from_.spec.tokens, StartsWith(source, kPartialTokenizer));
    const auto ours = SlotColumns(to_.tokens, StartsWith(label, kPartialTokenizer));
    const auto is_shared = [&](const auto& slot) { return theirs.count(slot.first) > 0; };
    if (std::none_of(ours.begin(), ours.end(), is_shared)) return false;
    const int64_t last = to.dim() - 1;
    size_t whole = 0, shared = 0;
    for (const auto& [slot, columns] : ours) {
      const auto found = theirs.find(slot);
      if (found == theirs.end()) continue;
      const int64_t width = std::min(columns.width, found->second.width);
      to.narrow(last, columns.begin, width).copy_(from.narrow(last, found->second.begin, width));
      ++shared;
      if (columns.width == found->second.width) ++whole;
    }
    if (whole == ours.size() && whole == theirs.size()) {
      report_.loaded.push_back(label);
    } else {
      report_.resized.push_back(absl::StrCat(label, ": ", shared, " of ", ours.size(), " slots"));
    }
    return true;
  }

  const Model& from_;
  const ModelSpec& to_;
  RunState& state_;
  WarmStartReport& report_;
  std::set<std::string> used_;
};

// The source's values, as many columns as fit; optimiser state stays as new.
Status LoadColumns(const std::string& path, const TableSpec& source, EmbeddingTable& to) {
  std::vector<EmbeddingTable> from;
  from.emplace_back(TableOptions{.dim = source.dim});
  GRAB_RETURN_IF_ERROR(ReadTables(path, {source}, from));
  std::vector<float> values(source.dim), mixed(to.dim());
  from[0].ForEachRow([&](uint32_t row) {
    const uint64_t key = from[0].key(row);
    const uint32_t place = key == 0 ? EmbeddingTable::kUnknownRow : to.FindOrInsert(key);
    from[0].Read(row, values.data());
    to.Read(place, mixed.data());
    std::copy_n(values.begin(), std::min(source.dim, to.dim()), mixed.begin());
    to.Write(place, mixed.data());
  });
  return absl::OkStatus();
}

// All rows, with optimiser state if the source has what this table needs. The source's evictions
// are no news for what this run releases.
StatusOr<bool> LoadRows(const std::string& path, const TableSpec& spec, EmbeddingTable& to) {
  GRAB_ASSIGN_OR_RETURN(const bool has_state, HasTableState(path, spec, to));
  if (!has_state) {
    GRAB_RETURN_IF_ERROR(LoadColumns(path, spec, to));
    return false;
  }
  std::vector<EmbeddingTable> tables;
  tables.push_back(std::move(to));
  const Status read = ReadTables(path, {spec}, tables);
  to = std::move(tables[0]);
  if (!read.ok()) return read;
  to.EndPeriod();
  return true;
}

Status Tables(const LoadedModel& loaded, const ModelSpec& spec, RunState& state,
              WarmStartReport& report) {
  const std::vector<TableSpec>& theirs = loaded.model.spec.tokens.tables;
  std::set<std::string> used;
  for (size_t t = 0; t < spec.tokens.tables.size(); ++t) {
    const TableSpec& table = spec.tokens.tables[t];
    const std::string label = "table " + table.name;
    const auto source = std::find_if(theirs.begin(), theirs.end(), [&](const TableSpec& other) {
      return other.name == table.name;
    });
    if (source == theirs.end()) {
      report.missing.push_back(label);
      continue;
    }
    used.insert(table.name);
    EmbeddingTable& to = state.tables[t];
    if (source->dim != table.dim) {
      GRAB_RETURN_IF_ERROR(LoadColumns(loaded.tables_path, *source, to));
      report.resized.push_back(absl::StrCat(label, ": ", std::min(source->dim, table.dim),
                                            " columns of ", table.dim,
                                            ", without optimiser state, ", to.rows(), " rows"));
      continue;
    }
    GRAB_ASSIGN_OR_RETURN(const bool has_state, LoadRows(loaded.tables_path, table, to));
    report.loaded.push_back(absl::StrCat(label, ": ", to.rows(), " rows",
                                         has_state ? "" : ", without optimiser state"));
  }
  for (const TableSpec& table : theirs) {
    if (used.count(table.name) == 0) report.unused.push_back("table " + table.name);
  }
  return absl::OkStatus();
}

}  // namespace

nlohmann::json ToJson(const WarmStartReport& report) {
  return {{"source", report.source},   {"loaded", report.loaded}, {"resized", report.resized},
          {"missing", report.missing}, {"unused", report.unused}, {"skipped", report.skipped}};
}

StatusOr<WarmStartReport> WarmStart(const std::string& path, const ModelSpec& spec,
                                    RunState& state) {
  const std::string best = JoinPath(path, "best");
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadDense(Exists(best) ? best : path));
  WarmStartReport report;
  report.source = loaded.dir;
  report.skipped = loaded.skipped;
  GRAB_RETURN_IF_ERROR(Tables(loaded, spec, state, report));
  Transfer(loaded.model, spec, state, report).Weights();
  return report;
}

}  // namespace grab
