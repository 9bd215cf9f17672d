grab_test(property/model_invariants_test DEPS grab_model)
grab_test(unit/model_kv_cache_test DEPS grab_model)
grab_test(unit/model_packed_model_test DEPS grab_model)
