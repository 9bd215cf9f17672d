// Two user ids that the store takes for one: both 256 bytes of UTF-8, with the same HashId. XXH3
// multiplies the halves of each word after an exclusive or with its secret: where one half equals
// the secret's, the product is 0 whatever the other half is, and only the sum of the words of a
// lane is left. So the ids have the secret's halves in two words of one lane, and swap what is
// beside them.
#pragma once

#include <string>
#include <utility>

namespace grab::testing {

inline std::pair<std::string, std::string> CollidingIds() {
  const auto id = [](const char* first, const char* second) {
    std::string text(256, 'x');
    text.replace(16, 9, std::string(first) + "\xF1\x83\x90\x97\xDB\x80");
    text.replace(80, 8, std::string(second) + "\xE1\xB7\xB3\x67\x1F");
    return text;
  };
  return {id("one", "two"), id("two", "one")};
}

}  // namespace grab::testing
