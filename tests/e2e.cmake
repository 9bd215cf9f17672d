# Tests of all stages together.
if(GRAB_BUILD_TRAIN)
  grab_test(e2e/main_job_test DEPS grab_base nlohmann_json::nlohmann_json TIMEOUT 300)
  add_dependencies(e2e_main_job_test grab grab-train)
  target_compile_definitions(e2e_main_job_test PRIVATE GRAB_BINARY="$<TARGET_FILE:grab>")
endif()
