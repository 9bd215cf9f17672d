grab_test(unit/http_server_test DEPS grab_http)
grab_test(fault/http_server_test DEPS grab_http)
