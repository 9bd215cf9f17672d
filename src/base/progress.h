// Progress of long steps. Libraries report through the interface; only a command line prints.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace grab {

class Progress {
 public:
  virtual ~Progress() = default;
  // A step begins; `total` units of `unit` ("rows", "tokens"), 0 when unknown.
  virtual void Begin(const std::string& step, const std::string& unit, uint64_t total) = 0;
  // `done` units so far; `note` is a short state such as "loss 0.53".
  virtual void Update(uint64_t done, const std::string& note) = 0;
  virtual void End(const std::string& note) = 0;
};

// Reports nothing.
Progress& NoProgress();

// On a terminal one line redrawn with a bar, rate and time left; elsewhere a plain line at most
// every ten seconds. Writes to standard error.
std::unique_ptr<Progress> MakeConsoleProgress();

// "1.23 M", "45.6 k", "789".
std::string HumanCount(double value);
// "1h02m", "3m05s", "12.3s".
std::string HumanSeconds(double seconds);

}  // namespace grab
