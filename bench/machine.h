// Where and with what a run was made.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace grab::bench {

// {"name": "machine", "value": CORES, "unit": "cores", "details": {...}}: the first entry of
// bench.json.
nlohmann::json DescribeMachine();

}  // namespace grab::bench
