# make demo [DATA=dir] [SEEDS=1,2,3] [CONFIG=file]   install what is missing, build, run the main job into runs/demo, serve its model
# make test [PRESET=ci]                                install what is missing, build, run the tests and the checks of the tree
# make test-all      also the tests labelled slow      make bench     build, measure, write bench.json
# make bench-training [DATA=kuairand_dir]              build, compare ways of training, kill runs, write training.json
# make bench-serve [DATA=kuairand_dir]                 build, load a server, kill it, replay a log through it, write serve.json
# make evidence DATA=dir [SEEDS=1,2,3,4,5]            build, compare all models, write evidence.json
# make asan | tsan   the tests under sanitizers        make check     every scripts/check-*
# make install [PREFIX=/usr/local] [DESTDIR=dir]       build and install binaries, configs, documentation, the systemd unit
# make build | format | clean
# Tests that need the data sets look in GRAB_DATA (a folder that holds them) and are skipped without it.
PRESET ?= release
JOBS ?= $(shell nproc)
DATA ?=
SEEDS ?=
CONFIG ?=
SETUP_FLAGS ?=
CTEST_FLAGS ?=
PREFIX ?= /usr/local
TREE_CHECKS := check-tests check-arrows check-names check-ldd
DEV_CHECKS := check-format check-tidy
BUILD_DIR = build/$(PRESET)

.PHONY: install demo test test-all bench bench-training bench-serve evidence build configure setup setup-dev format asan tsan check clean $(TREE_CHECKS) $(DEV_CHECKS)

setup:
	@scripts/setup $(SETUP_FLAGS)

setup-dev:
	@scripts/setup --dev

install: override PRESET := release
install: build
	@cmake --install build/release --prefix '$(PREFIX)'

configure: setup
	@cmake --preset $(PRESET)

build: configure
	@cmake --build --preset $(PRESET) -j $(JOBS)

demo: override PRESET := release
demo: setup
	@cmake --preset $(PRESET)
	@cmake --build --preset $(PRESET) -j $(JOBS) --target grab grab-train grab-serve grab-client
	@CONFIG='$(CONFIG)' scripts/demo '$(DATA)' '$(SEEDS)'

test: CTEST_FLAGS += -LE slow
test test-all: build
	@$(MAKE) --no-print-directory $(TREE_CHECKS) PRESET=$(PRESET)
	@ctest --test-dir $(BUILD_DIR) --output-on-failure --no-tests=error -j $(JOBS) $(CTEST_FLAGS)

bench: override PRESET := release
bench: setup
	@cmake --preset $(PRESET)
	@cmake --build --preset $(PRESET) -j $(JOBS) --target grab grab-bench shard_bench
	@CONFIG='$(CONFIG)' scripts/bench '$(DATA)'

bench-training: override PRESET := release
bench-training: setup
	@cmake --preset $(PRESET)
	@cmake --build --preset $(PRESET) -j $(JOBS) --target grab grab-train grab-bench-training
	@build/release/bin/grab-bench-training $(if $(DATA),--kuairand '$(DATA)')

bench-serve: override PRESET := release
bench-serve: setup
	@cmake --preset $(PRESET)
	@cmake --build --preset $(PRESET) -j $(JOBS) --target grab grab-train grab-serve grab-bench-serve
	@build/release/bin/grab-bench-serve $(if $(DATA),--kuairand '$(DATA)')

evidence: override PRESET := release
evidence: setup
	@cmake --preset $(PRESET)
	@cmake --build --preset $(PRESET) -j $(JOBS) --target grab grab-train grab-trees
	@scripts/evidence '$(DATA)' $(SEEDS)

asan tsan: setup-dev
	@cmake --preset $(SANITIZER_PRESET)
	@cmake --build --preset $(SANITIZER_PRESET) -j $(JOBS)
	@ctest --test-dir build/$(SANITIZER_PRESET) --output-on-failure --no-tests=error -j $(JOBS) -LE slow
asan: SANITIZER_PRESET := asan-ubsan
tsan: SANITIZER_PRESET := tsan
tsan: export TSAN_OPTIONS := suppressions=$(CURDIR)/tests/tsan.supp ignore_noninstrumented_modules=1

check: $(TREE_CHECKS) $(DEV_CHECKS)

$(TREE_CHECKS) $(DEV_CHECKS):
	@scripts/$@ $(BUILD_DIR)

format:
	@git ls-files -z --cached --others --exclude-standard -- '*.cc' '*.h' | xargs -0 -r clang-format -i

clean:
	@rm -rf build
