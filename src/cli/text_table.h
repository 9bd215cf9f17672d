// Rows of cells as lines with aligned columns.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace grab {

// The first row is the head. The first column is aligned left, the others right. Cells are UTF-8; a
// character counts as one column.
std::string TextTable(const std::vector<std::vector<std::string>>& rows);

// A cell: the number, "-" where there is none.
std::string Digits(const std::optional<double>& value, int digits);

}  // namespace grab
