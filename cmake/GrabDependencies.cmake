# Every library comes from Debian, except DuckDB (DUCKDB_ROOT, else what scripts/setup put under third_party/) and Chart.js.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(hwy REQUIRED)
if(GRAB_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

find_path(ZSTD_INCLUDE_DIR zstd.h REQUIRED)
find_library(ZSTD_LIBRARY zstd REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)

set(DUCKDB_ROOT "$ENV{DUCKDB_ROOT}" CACHE PATH "Folder with duckdb.h and libduckdb.so")
set(duckdb_folders "${CMAKE_SOURCE_DIR}/third_party/duckdb")
if(DUCKDB_ROOT)
  set(duckdb_folders "${DUCKDB_ROOT}" "${DUCKDB_ROOT}/include" "${DUCKDB_ROOT}/lib")
endif()
find_path(DUCKDB_INCLUDE_DIR duckdb.h PATHS ${duckdb_folders} NO_DEFAULT_PATH)
find_library(DUCKDB_LIBRARY duckdb PATHS ${duckdb_folders} NO_DEFAULT_PATH)
if(NOT DUCKDB_INCLUDE_DIR OR NOT DUCKDB_LIBRARY)
  message(FATAL_ERROR "duckdb.h or libduckdb.so not found in ${duckdb_folders}: run scripts/setup, "
    "or set DUCKDB_ROOT to a folder that has them")
endif()
add_library(duckdb SHARED IMPORTED)
set_target_properties(duckdb PROPERTIES
  IMPORTED_LOCATION "${DUCKDB_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${DUCKDB_INCLUDE_DIR}")

set(CHARTJS_DIR "${CMAKE_SOURCE_DIR}/third_party/chart.js")
foreach(file chart.umd.min.js LICENSE.md)
  if(NOT EXISTS "${CHARTJS_DIR}/${file}")
    message(FATAL_ERROR "${CHARTJS_DIR}/${file} does not exist: run scripts/setup")
  endif()
endforeach()

# TorchConfig lists Caffe2's own dependencies as it finds them; only its warnings and errors matter here.
if(GRAB_BUILD_TRAIN)
  set(CMAKE_MESSAGE_LOG_LEVEL WARNING)
  find_package(Torch REQUIRED)
  unset(CMAKE_MESSAGE_LOG_LEVEL)
endif()

if(GRAB_BUILD_TREES)
  find_path(XGBOOST_INCLUDE_DIR xgboost/c_api.h REQUIRED)
  find_library(XGBOOST_LIBRARY xgboost REQUIRED)
endif()

# State of users.
find_package(PkgConfig REQUIRED)
pkg_check_modules(rocksdb REQUIRED IMPORTED_TARGET rocksdb)
