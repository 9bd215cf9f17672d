grab_test(property/ranking_ranker_test DEPS grab_ranking)
