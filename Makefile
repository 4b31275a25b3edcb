# bittygpt: `make demo` goes from nothing to a story, `make test` proves it. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT ?= $(CURDIR)/.ci/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test test-gpu check verify-all format lint types schema clean torture torture-train proofs
.PHONY: bench bench-shakespeare bench-tokens bench-generate bench-safety bench-plan sweep ablation figures

help:                 ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  -/'

install: $(VENV)/.dev    ## bittygpt and all that its tests and benchmarks need, into .venv

$(VENV)/.package: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --progress-bar off -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(BIN)/pip install --progress-bar off -e '.[dev]'
	@touch $@

demo: $(VENV)/.package   ## train a small model on the builtin stories, and let it tell one; installs bittygpt alone
	$(BIN)/bittygpt train configs/quickstart.yaml
	$(BIN)/bittygpt sample --ckpt runs/quickstart < /dev/null

test: install         ## all tests that need no GPU, or those of one room: make test ROOM=sampling
	$(BIN)/python -m pytest -n 2 -m 'not gpu' $(if $(ROOM),tests/$(ROOM))

check: format lint types test   ## what CI runs

verify-all: install   ## exports in the readers that `check` has no room for: transformers 4, MLX, CTranslate2, OpenVINO, onnxruntime-genai
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python tests/verify_all/verify.py

format: install       ## is everything formatted? (`make format FIX=1` formats)
	$(BIN)/ruff format $(if $(FIX),,--check) .

lint: install
	$(BIN)/ruff check $(if $(FIX),--fix) .

types: install
	$(BIN)/mypy

bench: install        ## a training step's time by part and memory, beside the peers in PEERS=folder; also runs/bench.json
	$(BIN)/python tests/benchmarks/training_step.py --json runs/bench.json $(if $(PEERS),--peers $(PEERS))

bench-shakespeare: install ## `train` beside nanoGPT's own recipe: seconds and loss (TEXT=tinyshakespeare.txt, PEERS=folder)
	$(BIN)/python tests/benchmarks/shakespeare.py --json runs/bench-shakespeare.json \
		$(if $(TEXT),--text $(TEXT)) $(if $(PEERS),--peers $(PEERS))

sweep: install        ## the learning rate around its default, at several widths (TEXT=tinyshakespeare.txt)
	$(BIN)/python tests/benchmarks/sweep.py configs/shakespeare.yaml $(if $(TEXT),'data.train=[$(TEXT)]') --json runs/sweep.json \
		optim.name=adamw,muon model.d_model=64,128,256 optim.lr=null

ablation: install     ## what each ingredient of configs/shakespeare.yaml gives, in steps and in time (TEXT=tinyshakespeare.txt)
	$(BIN)/python tests/benchmarks/ablation.py $(or $(TEXT),data/tinyshakespeare.txt) --json runs/ablation.json

bench-tokens: install ## `tokenize` beside bitty-tokenizer, tokenizers and tiktoken (TEXT=file of 50 MB or more)
	$(BIN)/python tests/benchmarks/tokenization.py $(TEXT)

bench-generate: install ## `sample` beside transformers' generate, on one thread and two
	$(BIN)/python tests/benchmarks/generation.py --json runs/bench-generate.json

torture: install      ## kill `tokenize` at random moments, and compare what it ends with (TEXT=file)
	$(BIN)/python tests/torture.py $(TEXT)

torture-train: install ## kill and stop `train` at random moments, damage its checkpoints, and compare
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture_train.py $(TEXT)

bench-safety: install ## what never losing a run costs a run that nothing disturbs
	$(BIN)/python tests/benchmarks/safety.py

bench-plan: install   ## what `train --plan` says beside what the run then measures, for three configs (TEXT=tinyshakespeare.txt)
	$(BIN)/python tests/benchmarks/plan.py --json runs/bench-plan.json $(if $(TEXT),--text $(TEXT))

proofs: install       ## after an edit of core that its fast paths follow: keep the new hashes, if the tests of both pass
	cp bittygpt/engine/proved.json .proved.json
	$(BIN)/python -m bittygpt.engine.formulas
	$(BIN)/python -m pytest -q -n 2 tests/core tests/engine || { mv .proved.json bittygpt/engine/proved.json; exit 1; }
	rm .proved.json

test-gpu:             ## the tests that need a CUDA device, with the python that is on the PATH
	$(PYTHON) -m pytest -m gpu tests/gpu

figures: install      ## the README's tables of figures, from what the benchmarks last wrote into runs/
	$(BIN)/python tests/benchmarks/readme.py

schema: install       ## configs/schema.json, from which editors complete
	$(BIN)/python -m bittygpt.config > configs/schema.json

clean:                ## remove what the tools made; runs/ and data/ stay
	rm -rf $(VENV) .verify build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
