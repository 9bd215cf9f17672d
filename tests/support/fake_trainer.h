// Jobs that train (`grab run`, `compare`, `ablate`, `scale`) with a trainer of our own making.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_split.h"
#include "support/cli_process.h"

namespace grab {

// Notes its arguments; fails as TRAIN_EXIT says, or with 3 for the MODEL-SEED or the run folder in
// TRAIN_FAILS; else writes what a training run leaves. Without --model it is of trees. The AUC of
// seed s is .6s, of grab .7ss; the digits of window_len follow in runs of `grab scale --along
// history`; on permuted feedback it is PERMUTED_AUC (.505). Log-loss on validation is .5 and
// dense_lr or, of trees, learning_rate (.002 where it is not set); on test it is .6 less that, so
// that the two would not choose the same. The test scores are of two users: grab ranks both rightly
// (AUC 1), the others only the second (AUC .5).
inline constexpr char kFakeTrain[] = R"sh(#!/bin/sh
model=trees
rate=0.002
echo "$*" >> "$(dirname "$0")/calls"
while [ $# -gt 0 ]; do
  case "$1" in
    --model) model=$2 ;;
    --out) out=$2 ;;
    --set)
      case "$2" in
        *.seed=*) seed=${2#*=} ;;
        *.window_len=*) window=${2#*=} ;;
        *.dense_lr=*|*.learning_rate=*) rate=${2#*=} ;;
      esac ;;
  esac
  shift
done
mkdir -p "$out"
[ "${TRAIN_EXIT:-0}" = 0 ] || exit "$TRAIN_EXIT"
[ "$model-$seed" != "$TRAIN_FAILS" ] && [ "$(basename "$out")" != "$TRAIN_FAILS" ] || exit 3
auc=0.6$seed
[ "$model" = grab ] && auc=0.7$seed$seed
case "$out" in
  *-history-*) auc=$auc$window ;;
  */permuted/*) auc=${PERMUTED_AUC:-0.505} ;;
esac
valid=$(awk "BEGIN { print 0.5 + $rate }")
test=$(awk "BEGIN { print 0.6 - $rate }")
cat > "$out/metrics.json" <<END
{"model":"$model","train_rows":100,"test_rows":200,"tokens_per_second":1000,"wall_seconds":2,
"scores_per_second":10,"dense_weights":5,"tables":{"rows":3,"bytes":300},
"valid":{"auc":0.625,"logloss":$valid},
"test":{"rows":200,"positives":50,"auc":$auc,"gauc":0.5,"gauc_by":"page","logloss":$test,"ne":0.9,"pcoc":null}}
END
p=0.25
[ "$model" = grab ] && p=0.75
cat > "$out/test_scores.csv" <<END
event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click
1,1,0,0,0,test,1,$p
2,1,0,0,0,test,0,0.5
3,2,0,0,0,test,1,0.75
4,2,0,0,0,test,0,0.5
END
)sh";

class JobTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string bin = dir_.File("bin");
    std::filesystem::create_directory(bin);
    std::filesystem::copy_file(GRAB_BINARY, bin + "/grab");
    unsetenv("TRAIN_EXIT");
    unsetenv("TRAIN_FAILS");
    unsetenv("PERMUTED_AUC");
  }

  void InstallTrain() {
    for (const char* name : {"bin/grab-train", "bin/grab-trees"}) {
      ASSERT_TRUE(WriteFileDurably(dir_.File(name), kFakeTrain).ok());
      std::filesystem::permissions(dir_.File(name), std::filesystem::perms::owner_all);
    }
  }

  // `grab COMMAND` on a small simulated log.
  CommandResult RunJob(const std::string& command, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {dir_.File("bin/grab"),
                                          command,
                                          "--config",
                                          JoinPath(GRAB_SOURCE_DIR, "configs/simulator.toml"),
                                          "--out",
                                          out_,
                                          "--set",
                                          "simulate.users=30"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  }

  std::vector<std::string> TrainCalls() {
    const std::string calls = ReadFile(dir_.File("bin/calls"), 1 << 20).value();
    return absl::StrSplit(calls, '\n', absl::SkipEmpty());
  }

  std::string Out(const std::string& name) { return JoinPath(out_, name); }

  TempDir dir_;
  std::string out_ = dir_.File("out");
};

}  // namespace grab
