# grab_library(base SOURCES ... DEPS ...): the static library of one src/ folder, named grab_<folder>.
function(grab_library name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;DEPS")
  grab_reject_unknown("grab_library(${name})" "${ARG_UNPARSED_ARGUMENTS}")
  add_library(grab_${name} STATIC ${ARG_SOURCES})
  target_include_directories(grab_${name} PUBLIC "${CMAKE_SOURCE_DIR}/src")
  target_link_libraries(grab_${name} PUBLIC ${ARG_DEPS})
  set_target_properties(grab_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# grab_test(unit/base_rng_test DEPS grab_base [LABELS slow] [TIMEOUT s]): one GoogleTest binary from tests/<path>.cc.
# Tests on real data sets find them under GRAB_DATA of their environment.
function(grab_test path)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "DEPS;LABELS")
  grab_reject_unknown("grab_test(${path})" "${ARG_UNPARSED_ARGUMENTS}")
  string(REPLACE "/" "_" target "${path}")
  add_executable(${target} "${CMAKE_SOURCE_DIR}/tests/${path}.cc")
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  target_compile_definitions(${target} PRIVATE GRAB_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_test(NAME ${path} COMMAND ${target})
  set_tests_properties(${path} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  if(ARG_LABELS)
    set_tests_properties(${path} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()

# grab_fuzz(fuzz/data_shard_fuzz DEPS grab_data): one libFuzzer binary from tests/<path>.cc, built with GRAB_FUZZ only.
function(grab_fuzz path)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "DEPS")
  grab_reject_unknown("grab_fuzz(${path})" "${ARG_UNPARSED_ARGUMENTS}")
  if(GRAB_FUZZ)
    string(REPLACE "/" "_" target "${path}")
    add_executable(${target} "${CMAKE_SOURCE_DIR}/tests/${path}.cc")
    target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
    target_link_libraries(${target} PRIVATE ${ARG_DEPS})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()

# grab_torch_library(train SOURCES ... DEPS ...): a grab_library that uses libtorch.
function(grab_torch_library name)
  grab_library(${name} ${ARGN})
  grab_use_torch(grab_${name} PUBLIC)
endfunction()

# grab_torch_test(parity/train_forward_test DEPS grab_train ...): a grab_test that includes libtorch's headers itself.
function(grab_torch_test path)
  grab_test(${path} ${ARGN})
  string(REPLACE "/" "_" target "${path}")
  grab_use_torch(${target} PRIVATE)
endfunction()

# Links libtorch and shares one precompiled set of its headers (compiling against all of <torch/torch.h> takes half as
# long again). GCC accepts it only where -f and -O options agree, so these targets, which end in executables, take the
# compiler's default instead of -fPIC and set no such options of their own.
function(grab_use_torch target visibility)
  if(NOT TARGET grab_torch_pch)
    set(stub "${CMAKE_BINARY_DIR}/torch_pch.cc")
    file(CONFIGURE OUTPUT "${stub}" CONTENT "// Exists for its precompiled header.\n")
    add_library(grab_torch_pch OBJECT "${stub}")
    target_link_libraries(grab_torch_pch PRIVATE ${TORCH_LIBRARIES})
    target_precompile_headers(grab_torch_pch PRIVATE <torch/autograd.h> <torch/types.h> <torch/utils.h>)
    target_compile_options(grab_torch_pch PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endif()
  target_link_libraries(${target} ${visibility} ${TORCH_LIBRARIES})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_precompile_headers(${target} REUSE_FROM grab_torch_pch)
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

function(grab_reject_unknown where arguments)
  if(arguments)
    message(FATAL_ERROR "${where}: unknown arguments: ${arguments}")
  endif()
endfunction()
