#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"

namespace grab {
namespace {

class SilentProgress : public Progress {
 public:
  void Begin(const std::string&, const std::string&, uint64_t) override {}
  void Update(uint64_t, const std::string&) override {}
  void End(const std::string&) override {}
};

class ConsoleProgress : public Progress {
 public:
  ConsoleProgress() : terminal_(::isatty(STDERR_FILENO) == 1) {}

  void Begin(const std::string& step, const std::string& unit, uint64_t total) override {
    step_ = step;
    unit_ = unit;
    total_ = total;
    done_ = 0;
    watch_.Restart();
    shown_s_ = terminal_ ? -1.0 : 0.0;
    if (!terminal_) std::fprintf(stderr, "%s ...\n", step_.c_str());
  }

  void Update(uint64_t done, const std::string& note) override {
    done_ = done;
    const double now_s = watch_.Seconds();
    if (now_s - shown_s_ < (terminal_ ? 0.1 : 10.0)) return;
    shown_s_ = now_s;
    const std::string line = Line(now_s, note);
    std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
    std::fflush(stderr);
  }

  void End(const std::string& note) override {
    const double spent_s = watch_.Seconds();
    const double rate = spent_s > 0 ? static_cast<double>(done_) / spent_s : 0.0;
    std::fprintf(stderr, "%s%s: %s %s in %s (%s/s)%s%s\n", terminal_ ? "\r\033[K" : "",
                 step_.c_str(), HumanCount(static_cast<double>(done_)).c_str(), unit_.c_str(),
                 HumanSeconds(spent_s).c_str(), HumanCount(rate).c_str(), note.empty() ? "" : ", ",
                 note.c_str());
    std::fflush(stderr);
  }

 private:
  std::string Line(double now_s, const std::string& note) const {
    const double rate = now_s > 0 ? static_cast<double>(done_) / now_s : 0.0;
    std::string line = step_;
    if (total_ > 0) {
      const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
      const auto filled = static_cast<size_t>(share * 24.0);
      absl::StrAppend(&line, " [", std::string(filled, '='), std::string(24 - filled, ' '), "] ",
                      absl::StrFormat("%3.0f%%", share * 100.0));
    }
    absl::StrAppend(&line, " ", HumanCount(static_cast<double>(done_)), " ", unit_, ", ",
                    HumanCount(rate), "/s");
    if (total_ > done_ && rate > 0) {
      absl::StrAppend(&line, ", ", HumanSeconds(static_cast<double>(total_ - done_) / rate),
                      " left");
    }
    if (!note.empty()) absl::StrAppend(&line, ", ", note);
    return line;
  }

  bool terminal_;
  std::string step_;
  std::string unit_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  Stopwatch watch_;
  double shown_s_ = 0.0;
};

}  // namespace

Progress& NoProgress() {
  static SilentProgress progress;
  return progress;
}

std::unique_ptr<Progress> MakeConsoleProgress() { return std::make_unique<ConsoleProgress>(); }

std::string HumanCount(double value) {
  // A unit ends where its last digit would round up to the next one.
  if (value >= 999.995e6) return absl::StrFormat("%.2f G", value / 1e9);
  if (value >= 999.95e3) return absl::StrFormat("%.2f M", value / 1e6);
  if (value >= 9999.5) return absl::StrFormat("%.1f k", value / 1e3);
  return absl::StrFormat("%.0f", value);
}

std::string HumanSeconds(double seconds) {
  if (seconds < 59.95) return absl::StrFormat("%.1fs", seconds);
  const int64_t whole_s = std::llround(seconds);
  if (whole_s < 3600) return absl::StrFormat("%dm%02ds", whole_s / 60, whole_s % 60);
  const int64_t minutes = std::llround(seconds / 60.0);
  return absl::StrFormat("%dh%02dm", minutes / 60, minutes % 60);
}

}  // namespace grab
