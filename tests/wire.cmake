grab_test(property/wire_round_trip_test DEPS grab_wire)
grab_fuzz(fuzz/wire_request_fuzz DEPS grab_wire)
