// Counts by reason, with the first few examples of each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grab {

struct ReasonCount {
  uint64_t count = 0;
  std::vector<std::string> examples;
};

class Reasons {
 public:
  explicit Reasons(size_t examples_max = 0) : examples_max_(examples_max) {}

  // `make_example` returns a string; called only while examples are wanted.
  template <class MakeExample>
  void Add(const std::string& reason, uint64_t count, MakeExample make_example) {
    if (count == 0) return;
    ReasonCount& entry = by_reason_[reason];
    entry.count += count;
    if (entry.examples.size() < examples_max_) entry.examples.push_back(make_example());
  }

  const std::map<std::string, ReasonCount>& by_reason() const { return by_reason_; }
  uint64_t count(const std::string& reason) const {
    const auto found = by_reason_.find(reason);
    return found == by_reason_.end() ? 0 : found->second.count;
  }
  uint64_t total() const {
    uint64_t sum = 0;
    for (const auto& [reason, entry] : by_reason_) sum += entry.count;
    return sum;
  }

 private:
  size_t examples_max_;
  std::map<std::string, ReasonCount> by_reason_;
};

}  // namespace grab
