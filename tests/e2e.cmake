# Tests of all stages together.
if(GRAB_BUILD_TRAIN)
  grab_test(e2e/main_job_test DEPS grab_base nlohmann_json::nlohmann_json TIMEOUT 300)
  grab_test(e2e/train_kill_test DEPS grab_bench_kills TIMEOUT 600)
  foreach(test e2e_main_job_test e2e_train_kill_test)
    add_dependencies(${test} grab grab-train)
    target_compile_definitions(${test} PRIVATE GRAB_BINARY="$<TARGET_FILE:grab>")
  endforeach()
endif()
