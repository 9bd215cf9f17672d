grab_test(unit/kernels_buckets_test DEPS grab_kernels)
grab_test(parity/kernels_rab_attention_test DEPS grab_kernels)
grab_test(unit/kernels_embedding_pool_test DEPS grab_kernels)
grab_test(unit/kernels_dense_ops_test DEPS grab_kernels)
