#include "cli/user_spread.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "eval/user_spread.h"

namespace grab {
namespace {

constexpr double kNormal95 = 1.96;  // standard deviations on each side of a 95 % interval

StatusOr<UserInfluence> InfluenceOf(const std::string& run_dir) {
  const std::string path = JoinPath(run_dir, "test_scores.csv");
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, ReadScores(path));
  std::optional<UserInfluence> influence = AucInfluence(scores, 0);
  if (influence.has_value()) return *std::move(influence);
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": its labels are of one class, but metrics.json has an AUC"));
}

// Adds a's less b's.
Status AddDifference(const std::string& run_dir, const UserInfluence& a, const UserInfluence& b,
                     std::vector<double>& sum) {
  if (a.user_key != b.user_key) {
    return absl::InvalidArgumentError(
        absl::StrCat(run_dir, ": its test is of other users than the reference's"));
  }
  sum.resize(a.influence.size(), 0.0);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += a.influence[i] - b.influence[i];
  return absl::OkStatus();
}

}  // namespace

Status AddUserSpread(const Job& job, Comparison& comparison) {
  std::map<int64_t, UserInfluence> reference;  // by seed, those that were needed
  for (ComparedModel& model : comparison.models) {
    if (!model.auc_minus_reference.has_value()) continue;
    const std::vector<int64_t>& seeds = FindModel(comparison, comparison.reference)->result.seeds;
    std::vector<double> sum;
    double runs = 0.0;
    for (const int64_t seed : model.result.seeds) {
      if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) continue;
      if (!reference.contains(seed)) {
        GRAB_ASSIGN_OR_RETURN(reference[seed], InfluenceOf(job.RunDir(comparison.reference, seed)));
      }
      const std::string run_dir = job.RunDir(model.result.mean.model, seed);
      GRAB_ASSIGN_OR_RETURN(const UserInfluence influence, InfluenceOf(run_dir));
      GRAB_RETURN_IF_ERROR(AddDifference(run_dir, influence, reference[seed], sum));
      ++runs;
    }
    if (sum.size() >= 2) model.users_95 = kNormal95 * UserSd(sum) / runs;
  }
  return absl::OkStatus();
}

}  // namespace grab
