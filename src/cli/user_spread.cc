#include "cli/user_spread.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "eval/user_spread.h"

namespace grab {
namespace {

using Influence = std::optional<UserInfluence>;  // nullopt: the test has one class

StatusOr<Influence> InfluenceOf(const std::string& run_dir) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, ReadScores(JoinPath(run_dir, "test_scores.csv")));
  return AucInfluence(scores, 0);
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
  std::map<int64_t, Influence> reference;  // by seed
  for (const ComparedModel& model : comparison.models) {
    if (model.result.mean.model != comparison.reference || !model.result.mean.auc) continue;
    for (const int64_t seed : model.result.seeds) {
      GRAB_ASSIGN_OR_RETURN(reference[seed], InfluenceOf(job.RunDir(comparison.reference, seed)));
    }
  }
  for (ComparedModel& model : comparison.models) {
    if (!model.auc_minus_reference.has_value()) continue;
    std::vector<double> sum;
    size_t seeds = 0;
    for (const int64_t seed : model.result.seeds) {
      const auto other = reference.find(seed);
      if (other == reference.end() || !other->second.has_value()) continue;
      const std::string run_dir = job.RunDir(model.result.mean.model, seed);
      GRAB_ASSIGN_OR_RETURN(const Influence influence, InfluenceOf(run_dir));
      if (!influence.has_value()) continue;
      GRAB_RETURN_IF_ERROR(AddDifference(run_dir, *influence, *other->second, sum));
      ++seeds;
    }
    if (sum.size() < 2) continue;
    for (double& of_user : sum) of_user /= static_cast<double>(seeds);
    model.users_sd = UserSd(sum);
  }
  return absl::OkStatus();
}

}  // namespace grab
