# Build, install and test the inventory_reservation extension.
#
#   make                 build against the first pg_config in PATH
#   make install         install into that PostgreSQL (PG_CONFIG=, DESTDIR= as usual)
#   make installcheck    regression and isolation tests against a running server
#
#   make demo            see it work: installs what is missing, private server
#   make test            every test suite, private servers
#   make cluster         psql on a private server, thrown away when you quit
#   make help            all of them
#
# The second group asks for nothing but Debian, bash and make, and leaves the
# system's own PostgreSQL alone.  The first group is plain PGXS.

# Stays the first target, whatever the makefiles included below define.
all:

EXTENSION  = inventory_reservation
MODULE_big = inventory_reservation

# Where this file is; the build directory may be another one (VPATH build).
root := $(patsubst %/,%,$(if $(VPATH),$(VPATH),$(dir $(firstword $(MAKEFILE_LIST)))))

# The control file is the one place that states the version.  The library is
# told by the compiler's command line (src/catalog/version.c).
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" $(root)/$(EXTENSION).control)

# The script of this version, and the upgrade scripts leading to it.
DATA = $(patsubst $(root)/%,%,$(sort $(root)/sql/$(EXTENSION)--$(EXTVERSION).sql \
                                     $(wildcard $(root)/sql/$(EXTENSION)--*.sql)))

sources := $(patsubst $(root)/%,%,$(sort $(wildcard $(root)/src/*.c $(root)/src/*/*.c)))
headers := $(sort $(wildcard $(root)/src/*.h $(root)/src/*/*.h))
OBJS     = $(sources:.c=.o)

PG_CPPFLAGS = -I$(root)/src -DINVENTORY_VERSION=$(EXTVERSION)
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# Warnings are errors for those who develop, not for those who package with
# some later compiler.
ifeq ($(WERROR),1)
PG_CFLAGS += -Werror
endif

# For tests: any use of memory that is not ours, and any undefined behaviour,
# ends the server (test/support/instrument.sh).  PostgreSQL is compiled with
# -fwrapv; we do without, so that an overflow is found.
ifeq ($(SANITIZE),1)
sanitizers = -fsanitize=address,undefined -fno-sanitize-recover=all
PG_CFLAGS += $(sanitizers) -fno-wrapv -O1 -U_FORTIFY_SOURCE -DUSE_ASSERT_CHECKING
SHLIB_LINK += $(sanitizers)
endif

# PostgreSQL loads extension libraries with RTLD_GLOBAL, so a function of the
# same name in another extension would otherwise take our own calls.
SHLIB_LINK += -Wl,-Bsymbolic

# Tests for `make installcheck`.  Everything in sql/ that is not an extension
# script is a regression test.
tests_in       = $(sort $(basename $(notdir $(wildcard $(1)))))
REGRESS        = $(foreach t,$(call tests_in,$(root)/sql/*.sql),$(if $(findstring --,$(t)),,$(t)))
ISOLATION      = $(call tests_in,$(root)/test/isolation/specs/*.spec)
ISOLATION_OPTS = --inputdir=$(root)/test/isolation --load-extension=$(EXTENSION)

EXTRA_CLEAN = build

PG_CONFIG ?= pg_config
# libpq-dev brings a pg_config that names a pgxs.mk which is not there, hence
# the wildcard: it keeps only a file that exists.
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

ifneq ($(PGXS),)

include $(PGXS)

# PGXS has make look for every file in the source directory too.  That would
# take the objects of a build made there for those of a build elsewhere, so
# look only for what is source.  (PGXS defines srcdir by VPATH.)
srcdir := $(root)
override VPATH :=
vpath %.c $(srcdir)
vpath %.control $(srcdir)

# Bitcode (*.bc) is compiled from the same sources, for JIT inlining.
objects  = $(OBJS) $(OBJS:.o=.bc)
# Absolute names: src/rules exists in the source directory, but it is the one
# in the build directory that has to be made.
obj_dirs = $(addprefix $(CURDIR)/,$(sort $(dir $(OBJS))))

# Coarse on purpose: the whole library compiles in seconds, and a stale object
# costs more than that.
$(objects): $(headers) $(root)/$(EXTENSION).control | $(obj_dirs)

$(obj_dirs):
	$(MKDIR_P) $@

else

all install uninstall installdirs installcheck check clean distclean maintainer-clean:
	@echo "make $@ needs the PostgreSQL server development files, and" >&2
	@echo "'$(PG_CONFIG) --pgxs' does not lead to any.  Run 'make setup' (Debian) to install" >&2
	@echo "them, or name another installation with PG_CONFIG=/path/to/pg_config." >&2
	@false
.PHONY: all install uninstall installdirs installcheck check clean distclean maintainer-clean

endif

# Everything below works without PGXS: the scripts install what they need.

support := $(root)/test/support
# A killed make takes its script along, and with it the servers it started.
run     := setpriv --pdeathsig TERM bash

setup:
	@$(run) $(support)/setup.sh

demo:
	@$(run) $(root)/examples/demo/run.sh

gateway:
	@$(run) $(root)/examples/rest-gateway/run.sh

test:
	@$(run) $(support)/$(if $(VERSIONS),run_versions.sh $(VERSIONS),run_tests.sh)

analyze:
	@$(run) $(support)/run_tests.sh analysis

fuzz:
	@$(run) $(support)/run_tests.sh fuzz

test-builds test-regress test-isolation test-pgtap test-tap test-simulator test-examples:
	@$(run) $(support)/run_tests.sh $(@:test-%=%)

# Random calls of many clients while backends and servers are killed.
simulate:
	@$(run) $(root)/test/simulator/simulate.sh

simulate-mutants:
	@$(run) $(root)/test/simulator/mutants.sh $(if $(SEED),--seed $(SEED)) \
	    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(CLIENTS),--clients $(CLIENTS)) $(MUTANTS)

# The tests that throw random input, at length.
hostile:
	@HOSTILE_CALLS="$(or $(CALLS),200000)" HOSTILE_QUERIES="$(or $(QUERIES),100000)" HOSTILE_SEED="$(SEED)" \
	TESTS="032_random_calls 033_sqlsmith" $(run) $(support)/run_tests.sh tap

cluster:
	@$(run) $(support)/open_cluster.sh

# What was measured is reported even where a run failed its check.
bench bench-full:
	@$(run) $(root)/bench/run.sh $(if $(filter bench-full,$@),full,quick) $(BENCH_OPTIONS); status=$$?; \
	perl $(root)/bench/report.pl $(root)/build/bench/results.tsv \
	    $(root)/build/bench/machine.txt $(root)/docs && exit $$status

help:
	@sed -n 's/^## //p' $(root)/Makefile

## make                    build (PG_CONFIG=, WERROR=1)
## make install            install into the PostgreSQL of PG_CONFIG (DESTDIR=)
## make installcheck       pg_regress and isolation tests on a running server
## make clean              remove everything built
##
## make setup              install the Debian packages that are missing
## make demo               run examples/demo on a private server
## make gateway            REST and a live page on a private server (PORT=8080)
## make cluster            psql on a private server, thrown away afterwards
## make test               all suites on private servers
##   VERSIONS="15 17 18"   on these PostgreSQL versions, in chroots where need be
## make test-builds        test/builds/*.sh    compilers, places to build in
## make test-regress       sql/*.sql            against expected/*.out
## make test-isolation     test/isolation/specs against test/isolation/expected
## make test-pgtap         test/pgtap/*.sql
## make test-tap           test/t/*.pl
## make test-simulator     test/simulator/short/*.options
## make test-examples      test/examples/*.pl: what is in examples/, with real clients
##   TESTS="api errors"    only these tests of the suite
##   FULL=1                with a million holds, a million calls of one session (test-tap)
##   ACCEPT=1              make this run's output the expected one (regress, isolation)
##   PG_MAJOR=15           which PostgreSQL to set up and test
##   SANITIZE=1            with sanitizers and assertions in our library
##   VALGRIND=1            on servers under valgrind: 30 times slower
## make analyze            clang-tidy, cppcheck, scan-build, shellcheck, perl -c
## make fuzz               libFuzzer on what parses input (FUZZ_SECONDS=20)
## make hostile            random calls and random SQL, at length (CALLS=, QUERIES=, SEED=)
##
## make simulate           random calls, kills and crashes (test/simulator/README.md)
##   SEED= SECONDS=60 CLIENTS=12 EPISODE=
## make simulate-mutants   does it find bugs that are planted?  an hour
##   MUTANTS="..."         only these of test/simulator/mutants
##
## make bench              against PL/pgSQL and Redis, 10 minutes (bench/README.md)
## make bench-full         every peer and row, more than an hour
##   BENCH_OPTIONS="..."   options of bench/run.sh

.PHONY: setup demo gateway test test-builds test-regress test-isolation test-pgtap test-tap test-examples cluster bench bench-full help simulate test-simulator simulate-mutants hostile analyze fuzz
