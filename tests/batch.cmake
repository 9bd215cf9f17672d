grab_test(unit/batch_windows_test DEPS grab_batch)
grab_test(property/batch_visibility_test DEPS grab_batch)
grab_test(unit/batch_stream_test DEPS grab_batch)
grab_test(property/batch_pass_test DEPS grab_batch)
