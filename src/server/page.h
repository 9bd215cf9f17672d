// The page that the admin port serves: live rates, models, the inspector. One file, no other host.
#pragma once

#include <string>

namespace grab {

std::string RenderServerPage();

}  // namespace grab
