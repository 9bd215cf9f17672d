grab_test(property/model_invariants_test DEPS grab_model)
