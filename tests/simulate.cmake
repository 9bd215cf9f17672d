grab_test(unit/simulate_world_test DEPS grab_data)
grab_test(unit/simulate_files_test DEPS grab_data)
grab_test(property/simulate_calibration_test DEPS grab_data)
grab_test(property/simulate_recoverable_test DEPS grab_data)
