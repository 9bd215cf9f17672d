grab_test(property/serve_engine_test DEPS grab_serve TIMEOUT 300)
grab_test(unit/serve_cache_test DEPS grab_serve)
grab_test(property/serve_no_allocation_test DEPS grab_serve)
grab_test(unit/serve_precision_test DEPS grab_serve)
