grab_test(unit/tokens_spec_test DEPS grab_tokens)
grab_test(unit/tokens_tokeniser_test DEPS grab_tokens)
