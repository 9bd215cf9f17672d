#include "train/table_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/hash.h"

namespace grab {
namespace {

RowPrecision PrecisionOf(const std::string& name) {
  if (name == "bf16") return RowPrecision::kBf16;
  return name == "f16" ? RowPrecision::kF16 : RowPrecision::kF32;
}

const TableConfig* ConfigOf(const TrainConfig& config, const std::string& name) {
  const auto found = std::find_if(config.tables.begin(), config.tables.end(),
                                  [&](const TableConfig& table) { return table.name == name; });
  return found == config.tables.end() ? nullptr : &*found;
}

TableOptions OptionsOf(const TableSpec& spec, const TrainConfig& config) {
  const TableConfig* given = ConfigOf(config, spec.name);
  const TableConfig own = given == nullptr ? TableConfig() : *given;
  const auto choose = [](const std::string& name, const std::string& otherwise) {
    return name == "auto" ? otherwise : name;
  };
  TableOptions options;
  options.dim = spec.dim;
  options.optimiser = choose(own.optimizer, config.table_optimizer) == "adam"
                          ? SparseOptimiser::kAdam
                          : SparseOptimiser::kAdagrad;
  options.init_std = config.table_init_std;
  options.seed = HashCombine(static_cast<uint64_t>(config.seed), HashId(spec.name));
  options.precision = PrecisionOf(choose(own.precision, config.table_precision));
  options.learning_rate = own.lr > 0.0 ? own.lr : config.table_lr;
  options.admission_count = static_cast<uint32_t>(own.admission_count);
  options.sketch_bytes = static_cast<uint64_t>(config.admission_sketch_bytes);
  options.ttl_s = own.ttl_s;
  options.frequency_min = own.frequency_min;
  options.frequency_half_life_s = own.frequency_half_life_s;
  options.bytes_max = static_cast<uint64_t>(own.bytes_max);
  return options;
}

}  // namespace

std::vector<EmbeddingTable> MakeTables(const ModelSpec& spec, const TrainConfig& config,
                                       int64_t pass) {
  std::vector<EmbeddingTable> tables;
  for (const TableSpec& table : spec.tokens.tables) {
    TableOptions options = OptionsOf(table, config);
    if (config.restart_tables && pass > 0) {
      options.seed = HashCombine(options.seed, static_cast<uint64_t>(pass));
    }
    tables.emplace_back(std::move(options));
  }
  return tables;
}

Status CheckTables(const ModelSpec& spec, const TrainConfig& config) {
  const std::string section = absl::StrCat(ModelKindName(spec.kind), ".train.");
  for (const TableConfig& given : config.tables) {
    const auto& tables = spec.tokens.tables;
    if (std::any_of(tables.begin(), tables.end(),
                    [&](const TableSpec& table) { return table.name == given.name; })) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat(section, "table: the model has no table '", given.name, "'"));
  }
  uint64_t all_bytes_min = 0;
  for (const TableSpec& table : spec.tokens.tables) {
    const EmbeddingTable empty(OptionsOf(table, config));
    const uint64_t bytes_min = empty.fixed_bytes() + kBudgetRowsMin * empty.row_bytes();
    const uint64_t bytes_max = empty.options().bytes_max;
    if (bytes_max > 0 && bytes_max < bytes_min) {
      return absl::InvalidArgumentError(
          absl::StrCat(section, "table.", table.name, ".bytes_max: ", kBudgetRowsMin, " rows of ",
                       empty.row_bytes(), " bytes and ", empty.fixed_bytes(),
                       " beside them need at least ", bytes_min, ", got ", bytes_max));
    }
    all_bytes_min += bytes_min;
  }
  const auto total = static_cast<uint64_t>(config.tables_bytes_max);
  if (total == 0 || total >= all_bytes_min) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      section, "tables_bytes_max: ", kBudgetRowsMin, " rows of each of the ",
      spec.tokens.tables.size(), " tables need at least ", all_bytes_min, ", got ", total));
}

nlohmann::json DescribeTables(const std::vector<EmbeddingTable>& tables) {
  uint64_t rows = 0, bytes = 0;
  TableCounts counts;
  for (const EmbeddingTable& table : tables) {
    rows += table.rows();
    bytes += table.bytes();
    counts += table.counts();
  }
  return {{"rows", rows},
          {"bytes", bytes},
          {"admitted", counts.admitted},
          {"refused", counts.refused},
          {"evicted_ttl", counts.evicted_ttl},
          {"evicted_frequency", counts.evicted_frequency},
          {"evicted_budget", counts.evicted_budget}};
}

}  // namespace grab
