# Every library comes from Debian, except DuckDB: DUCKDB_ROOT, else what scripts/setup put under third_party/.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(spdlog REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
if(GRAB_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(GRAB_BUILD_BENCH)
  find_package(benchmark REQUIRED)
endif()

find_path(ZSTD_INCLUDE_DIR zstd.h REQUIRED)
find_library(ZSTD_LIBRARY zstd REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)

set(DUCKDB_ROOT "$ENV{DUCKDB_ROOT}" CACHE PATH "Folder with duckdb.h and libduckdb.so")
find_path(DUCKDB_INCLUDE_DIR duckdb.h
  HINTS "${DUCKDB_ROOT}" "${DUCKDB_ROOT}/include" "${CMAKE_SOURCE_DIR}/third_party/duckdb" NO_DEFAULT_PATH)
find_library(DUCKDB_LIBRARY duckdb
  HINTS "${DUCKDB_ROOT}" "${DUCKDB_ROOT}/lib" "${CMAKE_SOURCE_DIR}/third_party/duckdb" NO_DEFAULT_PATH)
if(NOT DUCKDB_INCLUDE_DIR OR NOT DUCKDB_LIBRARY)
  message(FATAL_ERROR "DuckDB not found: run scripts/setup, or set DUCKDB_ROOT to a folder with duckdb.h and libduckdb.so")
endif()
add_library(duckdb SHARED IMPORTED)
set_target_properties(duckdb PROPERTIES
  IMPORTED_LOCATION "${DUCKDB_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${DUCKDB_INCLUDE_DIR}")

# TorchConfig also drags in Caffe2's own flags; its warnings are not ours.
find_package(Torch REQUIRED)
