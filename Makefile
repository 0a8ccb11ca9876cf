# A thin front: each target is one or two commands that can be run by hand. See make help.

BUILD   ?= dev
MINUTES ?= 10
SEED    ?= 1
TRACE   ?=
PREFIX  ?= /usr/local

DIR   = build/$(BUILD)
MFCLI = $(DIR)/bin/mfcli

.PHONY: help run test bench sim soak soak-tests lint format install clean configure
.DEFAULT_GOAL := help

help:
	@echo 'make run      build, then the main job: a KV-cache workload over 4 ranks [TRACE=file.jsonl]'
	@echo 'make test     build, then all tests [BUILD=asan|tsan|clang]'
	@echo 'make bench    every path of the fabric, one JSON line each, into out/bench.jsonl'
	@echo 'make sim      one schedule of the simulation, with its story [SEED=1]'
	@echo 'make soak     24 ranks that join, leave, extend, copy and die at random [MINUTES=10]'
	@echo 'make soak-tests  the tests of many processes again and again, under load [MINUTES=10]'
	@echo 'make lint     format, style and layers'
	@echo 'make format   rewrite the C files as clang-format wants them'
	@echo 'make install  the release build into PREFIX=/usr/local'
	@echo 'make clean    remove build/ and out/'
	@echo
	@echo 'run and test first install what is missing (scripts/deps). BUILD is a preset of'
	@echo 'CMakePresets.json: dev, release, asan, tsan, clang; each builds in build/<preset>.'

configure:
	@scripts/deps run
	@cmake --preset $(BUILD) >/dev/null

run: configure
	@cmake --build $(DIR) --target mfcli
	$(MFCLI) replay --ranks 4 --clients 1 $(if $(TRACE),--trace '$(TRACE)' --block 16K)

test:
	@scripts/test $(BUILD)

bench: configure
	@cmake --build $(DIR) --target mfcli
	@mkdir -p out
	$(MFCLI) bench --all --json >out/bench.jsonl
	@echo 'wrote out/bench.jsonl'

sim: configure
	@cmake --build $(DIR) --target mf-sim
	$(DIR)/bin/mf-sim --seed $(SEED) --verbose

soak:
	@scripts/soak $(MINUTES) $(BUILD)

soak-tests:
	@scripts/soak-tests $(MINUTES) $(BUILD)

lint: configure
	@scripts/deps test
	@cmake --build $(DIR)
	@status=0; for check in format style 'layers --build $(DIR)'; do \
	    echo scripts/check-$$check; scripts/check-$$check || status=1; \
	done; exit $$status

format:
	@scripts/deps test
	scripts/check-format --fix

install: BUILD = release
install: configure
	@cmake --build $(DIR)
	cmake --install $(DIR) --prefix '$(DESTDIR)$(PREFIX)'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:
	rm -rf build out
