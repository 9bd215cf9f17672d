grab_test(property/wire_round_trip_test DEPS grab_wire)
