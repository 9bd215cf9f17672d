grab_test(unit/embedding_table_test DEPS grab_embedding)
grab_test(unit/embedding_lookup_test DEPS grab_embedding)
grab_test(unit/embedding_life_test DEPS grab_checkpoint)
