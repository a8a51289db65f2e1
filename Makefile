# Every target only calls scripts/dev.py, which needs nothing but Python 3.11+.
# On Windows, or without make: py scripts\dev.py test
#
#   make test ARGS="-k countdown"     make fuzz TARGET=decode SECONDS=60     make mutants ARGS=NAME
#   make simulate SEEDS=100000        make simulate SEED=7              make bench FULL=1

PYTHON ?= $(shell for p in python python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
DEV = $(if $(PYTHON),$(PYTHON),$(error telewire needs Python 3.11 or newer on the PATH, or PYTHON=path)) scripts/dev.py

.PHONY: demo test check bench mutants fuzz flood second model conformance compiled simulate soak windows clean

demo test check mutants flood second model conformance compiled soak windows clean:
	@$(DEV) $@ $(ARGS)

bench:
	@$(DEV) $@ $(if $(FULL),--full) $(ARGS)

fuzz:
	@$(DEV) $@ $(TARGET) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

simulate:
	@$(DEV) $@ $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)
