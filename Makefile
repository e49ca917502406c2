# pqlease: `make help` lists the targets.

ifneq ($(words [$(CURDIR)]),1)
$(error pqlease: the checkout path "$(CURDIR)" contains a space, at which ld.so splits LD_PRELOAD; move it)
endif
ifneq ($(findstring :,$(CURDIR)),)
$(error pqlease: the checkout path "$(CURDIR)" contains a colon, at which ld.so splits LD_PRELOAD; move it)
endif

CC = gcc
CXX = g++
CLANG = clang
CLANGXX = clang++
AR = ar
INSTALL = install
PKG_CONFIG = pkg-config
PG_CONFIG = pg_config

VERSION = 0.1.0

PREFIX = /usr/local
DESTDIR =
COMPLETIONS = $(PREFIX)/share/bash-completion/completions
BUILD = build
WERROR =
SANITIZE =
TEST_TIMEOUT = 120
TEST_JOBS = 3
JOBS = $(call once,JOBS,nproc)

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

# Asked once, and only when a recipe needs the answer: `make test` must start before they are installed.
once = $(eval $(1) := $(shell $(2)))$($(1))
PG_INCLUDE = $(call once,PG_INCLUDE,$(PG_CONFIG) --includedir)
ANALYZER_PKG_CFLAGS = $(call once,ANALYZER_PKG_CFLAGS,$(PKG_CONFIG) --cflags $(ANALYZER_PKGS))
ANALYZER_PKG_LIBS = $(call once,ANALYZER_PKG_LIBS,$(PKG_CONFIG) --libs $(ANALYZER_PKGS))
CMOCKA_CFLAGS = $(call once,CMOCKA_CFLAGS,$(PKG_CONFIG) --cflags cmocka)
CMOCKA_LIBS = $(call once,CMOCKA_LIBS,$(PKG_CONFIG) --libs cmocka)

# --- Sources ----------------------------------------------------------------------------------

SHIM_SRCS := $(wildcard shim/*.c) $(wildcard shim/*.S)
ANALYZER_SRCS := $(wildcard analyzer/*.c analyzer/*/*.c) $(wildcard analyzer/*.S analyzer/*/*.S)
# The code of the shim that the analyzer is built with as well.
SHARED_SRCS := shim/ledger_file.c shim/proc.c
TEST_SUPPORT_SRCS := $(wildcard tests/unit/support/*.c)
SHIM_TEST_SRCS := $(wildcard tests/unit/shim/test_*.c)
ANALYZER_TEST_SRCS := $(wildcard tests/unit/analyzer/test_*.c)
INTEGRATION_TESTS := $(sort $(wildcard tests/integration/test_*.py))
FORMATTED := $(wildcard shim/*.[ch] analyzer/*.[ch] analyzer/*/*.[ch] tests/unit/*/*.[ch] tests/fixtures/*.[ch] \
	tests/fuzz/*.[ch] tests/evaluate/*.[ch])

SHIM_OBJS := $(SHIM_SRCS:%=$(BUILD)/%.o)
SHARED_OBJS := $(SHARED_SRCS:%=$(BUILD)/shared/%.o)
ANALYZER_OBJS := $(ANALYZER_SRCS:%=$(BUILD)/%.o)
# What takes effect by being linked (hooks, constructors, assembly) stays out of unit tests.
SHIM_TESTED_OBJS := $(filter-out %hooks.c.o %_ctor.c.o %.S.o,$(SHIM_OBJS))
ANALYZER_TESTED_OBJS := $(filter-out %/main.c.o,$(ANALYZER_OBJS)) $(SHARED_OBJS)
UNIT_TESTS := $(SHIM_TEST_SRCS:%.c=$(BUILD)/%) $(ANALYZER_TEST_SRCS:%.c=$(BUILD)/%)

# A fixture is a program, or a library if its first line says `/* build: shared */`.
FIXTURE_SRCS := $(wildcard tests/fixtures/*.c tests/fixtures/*.cc tests/fixtures/*.cpp)
FIXTURE_LIBRARY_SRCS := $(if $(FIXTURE_SRCS),$(shell grep -lE '^/\* build:.*\bshared\b' $(FIXTURE_SRCS)))
FIXTURE_PROGRAMS := $(basename $(filter-out $(FIXTURE_LIBRARY_SRCS),$(FIXTURE_SRCS)))
FIXTURES := $(addsuffix .so,$(basename $(FIXTURE_LIBRARY_SRCS))) \
	$(FIXTURE_PROGRAMS) $(foreach variant,.O2 .stripped .clang,$(addsuffix $(variant),$(FIXTURE_PROGRAMS)))
FIXTURES := $(FIXTURES:%=$(BUILD)/%)

# --- Flags ------------------------------------------------------------------------------------

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(WERROR)
COMMON_CFLAGS = -std=gnu11 -O2 -g -D_GNU_SOURCE -DPQLEASE_VERSION='"$(VERSION)"' -I. -MMD -MP $(WARNINGS) $(SANITIZE)

# Initial-exec TLS and no cleanup attributes keep ld-linux and libgcc_s out of DT_NEEDED; unwind tables let
# exceptions and cancellation pass through the hooks.
SHIM_CFLAGS = $(COMMON_CFLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fasynchronous-unwind-tables -fexceptions -fno-strict-aliasing -I$(PG_INCLUDE) $(CFLAGS)
SHIM_LDFLAGS = -shared -nodefaultlibs -Wl,-Bsymbolic-functions,-z,relro,-z,now,-z,noexecstack,-z,nodelete,--no-undefined,--as-needed \
	$(LDFLAGS)
SHIM_LIBS = -lc

ANALYZER_PKGS = jansson libdw libelf libmicrohttpd ncursesw yaml-0.1 zlib
ANALYZER_CFLAGS = $(COMMON_CFLAGS) -I$(PG_INCLUDE) $(ANALYZER_PKG_CFLAGS) $(CFLAGS)
ANALYZER_LIBS = $(ANALYZER_PKG_LIBS) -liberty -lm

TEST_CFLAGS = $(COMMON_CFLAGS) -I$(PG_INCLUDE) $(CMOCKA_CFLAGS) $(CFLAGS)
FIXTURE_CFLAGS = -g -I. -I$(PG_INCLUDE) -Wall -Wextra -MMD -MP
FIXTURE_LIBS = -Wl,--as-needed -lpq

# Make shows "CC shim/x.c"; V=1 shows the commands.
quiet = $(if $(V),,@echo '  $(1)';)

# --- Build ------------------------------------------------------------------------------------

.PHONY: all
all: $(BUILD)/libpqlease.so $(BUILD)/pqlease ## build the shim and the analyzer (default)

$(BUILD)/libpqlease.so: $(SHIM_OBJS)
	$(call quiet,LD $@)$(CC) $(SHIM_LDFLAGS) -Wl,-soname,libpqlease.so -o $@ $(SHIM_OBJS) $(SHIM_LIBS)

$(BUILD)/pqlease: $(ANALYZER_OBJS) $(SHARED_OBJS)
	$(call quiet,LD $@)$(CC) $(SANITIZE) -Wl,-z,relro,-z,now $(LDFLAGS) -o $@ $^ $(ANALYZER_LIBS)

$(BUILD)/shim/%.o: shim/% Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(SHIM_CFLAGS) -c -o $@ $<

$(BUILD)/shared/%.o: % Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $< (analyzer))$(CC) $(ANALYZER_CFLAGS) -c -o $@ $<

$(BUILD)/analyzer/%.o: analyzer/% Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(ANALYZER_CFLAGS) -c -o $@ $<

# Embedded files are named by .incbin, which -MMD does not see.
$(filter %.S.o,$(ANALYZER_OBJS)): $(wildcard analyzer/assets/*)

# --- Unit tests: archives, so that a test may put its own functions in place of a module's ------

$(BUILD)/tests/shim.a: $(SHIM_TESTED_OBJS)
$(BUILD)/tests/analyzer.a: $(ANALYZER_TESTED_OBJS)
$(BUILD)/tests/support.a: $(TEST_SUPPORT_SRCS:%=$(BUILD)/%.o)
$(BUILD)/tests/%.a:
	@mkdir -p $(@D)
	$(call quiet,AR $@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/tests/unit/%.c.o: tests/unit/%.c Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(TEST_CFLAGS) -c -o $@ $<

$(BUILD)/tests/unit/shim/test_%: $(BUILD)/tests/unit/shim/test_%.c.o $(BUILD)/tests/support.a $(BUILD)/tests/shim.a
	$(call quiet,LD $@)$(CC) $(SANITIZE) -rdynamic $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) -lpthread

$(BUILD)/tests/unit/analyzer/test_%: $(BUILD)/tests/unit/analyzer/test_%.c.o $(BUILD)/tests/support.a \
		$(BUILD)/tests/analyzer.a
	$(call quiet,LD $@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ANALYZER_LIBS) -lpthread

# --- Fixtures: ordinary programs that know nothing of pqlease ----------------------------------

# The first line of a fixture may say `/* build: CFLAGS="..." LDLIBS="..." */`.
said = $(shell sed -n '1{/^\/\* build:/{s,.*\b$(1)="\([^"]*\)".*,\1,p;t;s,.*\b$(1)=\([^ ]*\).*,\1,p}}' $(2))
fixture_cc = $(call quiet,FIXTURE $@)$(if $(filter %.c,$<),$(2),$(3)) $(1) $(FIXTURE_CFLAGS) \
	$(call said,CFLAGS,$<) -MF $@.d -o $@ $< $(FIXTURE_LIBS) $(call said,LDLIBS,$<)

define fixture_rules
$(BUILD)/tests/fixtures/%: tests/fixtures/%$(1) Makefile
	@mkdir -p $$(@D)
	$$(call fixture_cc,-O1,$$(CC),$$(CXX))

$(BUILD)/tests/fixtures/%.O2: tests/fixtures/%$(1) Makefile
	@mkdir -p $$(@D)
	$$(call fixture_cc,-O2,$$(CC),$$(CXX))

$(BUILD)/tests/fixtures/%.stripped: tests/fixtures/%$(1) Makefile
	@mkdir -p $$(@D)
	$$(call fixture_cc,-O1 -s,$$(CC),$$(CXX))

$(BUILD)/tests/fixtures/%.clang: tests/fixtures/%$(1) Makefile
	@mkdir -p $$(@D)
	$$(call fixture_cc,-O2,$$(CLANG),$$(CLANGXX))

$(BUILD)/tests/fixtures/%.so: tests/fixtures/%$(1) Makefile
	@mkdir -p $$(@D)
	$$(call fixture_cc,-O1 -fPIC -shared,$$(CC),$$(CXX))
endef
$(foreach suffix,.c .cc .cpp,$(eval $(call fixture_rules,$(suffix))))

# --- Tests ------------------------------------------------------------------------------------

run_tests = PQLEASE_BUILD=$(abspath $(BUILD)) tests/run --timeout $(TEST_TIMEOUT) --jobs $(TEST_JOBS)

.PHONY: test
test: ## install what is missing, build, run all tests
	@scripts/setup
	@$(MAKE) -j$(JOBS) test-programs all
	@$(run_tests) $(UNIT_TESTS) $(INTEGRATION_TESTS)

.PHONY: unit-programs test-programs
unit-programs: $(UNIT_TESTS)
test-programs: unit-programs $(FIXTURES) evaluate-programs fuzz-programs

.PHONY: test-unit
test-unit: $(UNIT_TESTS) ## build and run the unit tests
	@$(run_tests) $(UNIT_TESTS)

.PHONY: test-integration
test-integration: all unit-programs $(FIXTURES) ## build and run the tests against a real server
	@$(run_tests) $(INTEGRATION_TESTS)

.PHONY: test-faults
test-faults: all $(FIXTURES) ## try what can fail around a program, write the table of it to $(BUILD)/faults.md
	@rm -rf $(BUILD)/faults
	@$(run_tests) tests/integration/test_faults.py tests/integration/test_fault_table.py; status=$$?; \
		tests/integration/write_fault_table $(BUILD); exit $$status

.PHONY: test-sanitize
test-sanitize: ## run the unit tests built by clang with ASan and UBSan
	@$(MAKE) -j$(JOBS) BUILD=build-san CC=$(CLANG) \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' \
		test-unit

.PHONY: demo
demo: ## install what is missing, build, show a leak found and a clean run
	@scripts/setup
	@$(MAKE) all $(BUILD)/tests/fixtures/orders.O2
	@PQLEASE_BUILD=$(abspath $(BUILD)) scripts/demo

# --- Clients ----------------------------------------------------------------------------------

CLIENT_TESTS := $(sort $(wildcard tests/clients/test_*.py))
CLIENT_PROGRAMS := $(patsubst %,$(BUILD)/tests/clients/programs/%,apr_dbd libpqxx odbc qt_qpsql)
OBSERVER := $(BUILD)/tests/audit/pq_audit.so
apr_dbd_pkgs = apr-util-1 apr-1
libpqxx_pkgs = libpqxx
odbc_pkgs = odbc
qt_qpsql_pkgs = Qt5Sql

.PHONY: test-clients
test-clients: TEST_TIMEOUT = 300
test-clients: ## install every client of libpq that is packaged, and run each under the shim
	@scripts/setup
	@PQLEASE_BUILD=$(abspath $(BUILD)) scripts/setup-clients
	@$(MAKE) all $(CLIENT_PROGRAMS) $(OBSERVER)
	@rm -rf $(BUILD)/clients/results
	@$(run_tests) $(CLIENT_TESTS); status=$$?; tests/clients/write_table $(BUILD); exit $$status

client_cc = $(call quiet,CLIENT $@)$(1) -g -O1 -fPIC -Wall -o $@ $< $(shell $(PKG_CONFIG) --cflags --libs $($*_pkgs))

$(BUILD)/tests/clients/programs/%: tests/clients/programs/%.c Makefile
	@mkdir -p $(@D)
	$(call client_cc,$(CC))

$(BUILD)/tests/clients/programs/%: tests/clients/programs/%.cc Makefile
	@mkdir -p $(@D)
	$(call client_cc,$(CXX))

$(OBSERVER): tests/audit/pq_audit.c Makefile
	@mkdir -p $(@D)
	$(call quiet,LD $@)$(CC) -O2 -D_GNU_SOURCE $(WARNINGS) -fPIC -shared -o $@ $<

# --- Models and benchmarks ----------------------------------------------------------------------

BENCH_PROGRAMS := $(patsubst %,$(BUILD)/tests/bench/%,connect_cost query_cost first_call contention hold spawn_cost query_host)
BENCH_LIBRARIES := $(patsubst %,$(BUILD)/tests/bench/%,null_shim.so empty_shim.so query_plugin.so fake/libpq.so.5)
BENCH_BIG := $(BUILD)/tests/bench/$(if $(QUICK),small_program,big_program)
BENCH_BIG_PARTS := 0 1 2 3 4 5 6 7
BENCH_BIG_FUNCTIONS := $(if $(QUICK),1000,10000)

.PHONY: bench
bench: all $(BENCH_PROGRAMS) $(BENCH_LIBRARIES) $(BENCH_BIG) ## measure what it costs, 10 minutes; QUICK=1: one minute
	@PQLEASE_BUILD=$(abspath $(BUILD)) scripts/bench $(if $(QUICK),--quick)

$(BENCH_PROGRAMS): $(BUILD)/tests/bench/%: tests/bench/%.c tests/bench/bench.h Makefile
	@mkdir -p $(@D)
	$(call quiet,BENCH $@)$(CC) -O2 $(FIXTURE_CFLAGS) -o $@ $< $(FIXTURE_LIBS) -lpthread -ldl

$(filter-out %/libpq.so.5,$(BENCH_LIBRARIES)): $(BUILD)/tests/bench/%.so: tests/bench/%.c tests/bench/bench.h Makefile
	@mkdir -p $(@D)
	$(call quiet,BENCH $@)$(CC) -O2 -D_GNU_SOURCE $(FIXTURE_CFLAGS) -fPIC -shared -o $@ $< $(FIXTURE_LIBS)

$(BUILD)/tests/bench/fake/libpq.so.5: tests/bench/fake_libpq.c Makefile
	@mkdir -p $(@D)
	$(call quiet,BENCH $@)$(CC) -O2 $(FIXTURE_CFLAGS) -fPIC -shared -Wl,-soname,libpq.so.5 -o $@ $<

$(BENCH_BIG).%.o: tests/bench/big_program Makefile
	@mkdir -p $(@D)
	$(call quiet,BENCH $@)tests/bench/big_program $* $(words $(BENCH_BIG_PARTS)) $(BENCH_BIG_FUNCTIONS) | \
		$(CC) -O0 -g -I$(PG_INCLUDE) -xc -c -o $@ -

$(BENCH_BIG): $(BENCH_BIG_PARTS:%=$(BENCH_BIG).%.o)
	$(call quiet,BENCH $@)$(CC) -o $@ $^ -lpq

.PHONY: model
model: ## check the protocol of lease slots, and that broken variants of it are caught (spin)
	@tests/model/check

# --- Evaluation -----------------------------------------------------------------------------------

STORM_OBJS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/evaluate/storm*.c))
HOSTILE_OBJS := $(patsubst %,$(BUILD)/%.o,tests/evaluate/hostile.c tests/fuzz/fuzz.c tests/fuzz/ledger_changes.c)
EVALUATE_PROGRAMS := $(BUILD)/tests/evaluate/storm $(BUILD)/tests/evaluate/hostile
TSAN_TESTS = ledger_slots ledger_intern ledger_totals ledger_processes conn_table lease use

.PHONY: evaluate
evaluate: all $(FIXTURES) $(EVALUATE_PROGRAMS) ## kill storm, soak and hostile files at length, races and memory by valgrind (minutes)
	@$(MAKE) test-tsan
	@PQLEASE_BUILD=$(abspath $(BUILD)) tests/evaluate/run

.PHONY: evaluate-programs
evaluate-programs: $(EVALUATE_PROGRAMS)

.PHONY: test-tsan
test-tsan: ## run the tests of what threads share, built by clang with TSan
	@$(MAKE) BUILD=$(BUILD)/tsan CC=$(CLANG) SANITIZE='-fsanitize=thread -fno-omit-frame-pointer' test-tsan-here

.PHONY: test-tsan-here
test-tsan-here: $(TSAN_TESTS:%=$(BUILD)/tests/unit/shim/test_%)
	@TSAN_OPTIONS=halt_on_error=1 $(run_tests) $^

$(BUILD)/tests/evaluate/%.c.o: tests/evaluate/%.c Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(TEST_CFLAGS) -c -o $@ $<

$(BUILD)/tests/evaluate/storm: $(STORM_OBJS) $(BUILD)/tests/support.a $(BUILD)/tests/shim.a $(BUILD)/tests/analyzer.a
	$(call quiet,LD $@)$(CC) $(SANITIZE) -rdynamic $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ANALYZER_LIBS) -lpthread

$(BUILD)/tests/evaluate/hostile: $(HOSTILE_OBJS)
	$(call quiet,LD $@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^

# --- Coverage -------------------------------------------------------------------------------------

# The shim of this build depends on more than libc and writes files at the end of its hosts: for counting lines only.
COVERAGE_BUILD = $(abspath $(BUILD))/coverage
COVERAGE_FLAGS = BUILD=$(COVERAGE_BUILD) CFLAGS='-O1 -fno-inline' SANITIZE='--coverage -fprofile-update=atomic' \
	SHIM_LIBS='-lgcov -lc'

.PHONY: coverage
coverage: ## which lines of shim and analyzer the tests execute (gcovr: scripts/setup coverage)
	@command -v gcovr >/dev/null || { echo 'coverage: gcovr is not installed: run scripts/setup coverage' >&2; exit 2; }
	@$(MAKE) $(COVERAGE_FLAGS) coverage-programs
	@find $(COVERAGE_BUILD) -name '*.gcda' -delete
	@$(MAKE) $(COVERAGE_FLAGS) coverage-tests || echo 'coverage: some tests failed in this build'
	@gcovr --root . --filter shim/ --filter analyzer/ --exclude-unreachable-branches \
		--html-details $(COVERAGE_BUILD)/coverage.html --txt $(COVERAGE_BUILD)/coverage.txt $(COVERAGE_BUILD)
	@cat $(COVERAGE_BUILD)/coverage.txt

.PHONY: coverage-programs
coverage-programs: unit-programs all $(FIXTURES) evaluate-programs

.PHONY: coverage-tests
coverage-tests:
	@$(run_tests) $(UNIT_TESTS) $(filter-out %test_fuzz.py,$(INTEGRATION_TESTS))

# --- Fuzzing -------------------------------------------------------------------------------------

# Everything is built once more below $(BUILD)/fuzz, by clang with sanitizers, so that a plain build stays plain.
FUZZ_SECONDS = 60
FUZZ_JOBS = 2
FUZZ_SANITIZE = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SUPPORT_OBJS := $(BUILD)/tests/fuzz/fuzz.c.o $(BUILD)/tests/fuzz/ledger_changes.c.o
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/%)
FUZZ_LIBS = $(BUILD)/tests/support.a $(BUILD)/tests/shim.a $(BUILD)/tests/analyzer.a

.PHONY: fuzz
fuzz: fuzz-programs ## fuzz every target for FUZZ_SECONDS (60)
	@tests/fuzz/run --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS) $(BUILD)/fuzz

.PHONY: fuzz-afl
fuzz-afl: ## the same targets under AFL++ (package afl++), FUZZ_SECONDS each
	@$(MAKE) BUILD=$(BUILD)/afl CC=afl-clang-fast SANITIZE='-fsanitize=undefined -fno-sanitize-recover=all' \
		fuzz-programs-here
	@tests/fuzz/run-afl $(FUZZ_SECONDS) $(BUILD)/afl

.PHONY: fuzz-programs
fuzz-programs:
	@$(MAKE) BUILD=$(BUILD)/fuzz CC=$(CLANG) SANITIZE='$(FUZZ_SANITIZE)' fuzz-programs-here

.PHONY: fuzz-programs-here
fuzz-programs-here: $(FUZZ_PROGRAMS) $(BUILD)/tests/fuzz/seeds/made

$(BUILD)/tests/fuzz/%.c.o: tests/fuzz/%.c Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(TEST_CFLAGS) -c -o $@ $<

$(FUZZ_PROGRAMS): %: %.c.o $(FUZZ_SUPPORT_OBJS) $(FUZZ_LIBS)
	$(call quiet,LD $@)$(CC) $(SANITIZE) -fsanitize=fuzzer -rdynamic $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ANALYZER_LIBS) \
		-lpthread

$(BUILD)/tests/fuzz/make_seeds: $(BUILD)/tests/fuzz/make_seeds.c.o $(FUZZ_LIBS)
	$(call quiet,LD $@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ANALYZER_LIBS) -lpthread

# Golden inputs whose format is the ledger's or the linker's are made, the others are kept in tests/fuzz/corpus.
$(BUILD)/tests/fuzz/seeds/made: $(BUILD)/tests/fuzz/make_seeds tests/fuzz/make_elf_seeds
	@rm -rf $(@D) && mkdir -p $(FUZZ_TARGETS:fuzz_%=$(@D)/%)
	$(call quiet,SEEDS $(@D))$< $(@D) && tests/fuzz/make_elf_seeds $(@D)
	@touch $@

# --- Checks -----------------------------------------------------------------------------------

.PHONY: lint
lint: lint-format lint-words lint-layers lint-compilers lint-exports lint-tidy ## format, layers, exports, warnings of two compilers, clang-tidy

.PHONY: lint-format
lint-format:
	clang-format --dry-run -Werror $(FORMATTED)

.PHONY: lint-words
lint-words:
	scripts/check-words
	scripts/check-tour

.PHONY: lint-layers
lint-layers:
	scripts/check-layers

.PHONY: lint-compilers
lint-compilers:
	$(MAKE) -j$(JOBS) BUILD=build-gcc CC=gcc WERROR=-Werror all unit-programs
	$(MAKE) -j$(JOBS) BUILD=build-clang CC=$(CLANG) CXX=$(CLANGXX) WERROR=-Werror all unit-programs

.PHONY: lint-exports
lint-exports: $(BUILD)/libpqlease.so
	scripts/check-exports $(BUILD)/libpqlease.so

.PHONY: lint-tidy
lint-tidy:
	scripts/check-tidy -std=gnu11 -D_GNU_SOURCE '-DPQLEASE_VERSION="$(VERSION)"' -I. -I$(PG_INCLUDE) $(ANALYZER_PKG_CFLAGS) -- \
		$(filter %.c,$(SHIM_SRCS) $(ANALYZER_SRCS))

.PHONY: format
format: ## rewrite the C sources as .clang-format says
	clang-format -i $(FORMATTED)

# --- Install ----------------------------------------------------------------------------------

.PHONY: install
install: all $(BUILD)/pqlease.1 ## install under PREFIX (/usr/local), below DESTDIR
	$(INSTALL) -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/pqlease'
	$(INSTALL) -m 755 $(BUILD)/pqlease '$(DESTDIR)$(PREFIX)/bin/pqlease'
	$(INSTALL) -m 644 $(BUILD)/libpqlease.so '$(DESTDIR)$(PREFIX)/lib/pqlease/libpqlease.so'
	$(INSTALL) -D -m 644 $(BUILD)/pqlease.1 '$(DESTDIR)$(PREFIX)/share/man/man1/pqlease.1'
	$(INSTALL) -D -m 644 scripts/completion/pqlease.bash '$(DESTDIR)$(COMPLETIONS)/pqlease'

$(BUILD)/%.1: analyzer/man/%.1.scd
	@mkdir -p $(@D)
	$(call quiet,MAN $@)scdoc < $< > $@

.PHONY: uninstall
uninstall: ## remove what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/pqlease' '$(DESTDIR)$(PREFIX)/lib/pqlease/libpqlease.so' \
		'$(DESTDIR)$(PREFIX)/share/man/man1/pqlease.1' '$(DESTDIR)$(COMPLETIONS)/pqlease'
	[ ! -d '$(DESTDIR)$(PREFIX)/lib/pqlease' ] || rmdir '$(DESTDIR)$(PREFIX)/lib/pqlease'

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build build-gcc build-clang build-san

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-18s %s\n' "$$target" "$$text"; done

-include $(SHIM_OBJS:.o=.d) $(ANALYZER_OBJS:.o=.d) $(SHARED_OBJS:.o=.d) $(UNIT_TESTS:%=%.c.d) \
	$(TEST_SUPPORT_SRCS:%=$(BUILD)/%.d) $(FIXTURES:%=%.d)
